"""The training loop: one recipe, one student, from top to bottom."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from layerlink.lab.evaluation import dead_layers, read_test, validation_accuracy
from layerlink.lab.interruption import stop_if_asked, stop_signals
from layerlink.lab.learner import Learner, Meter
from layerlink.lab.resume import Position, claimed, open_run, save
from layerlink.lab.run_folder import RunFolder
from layerlink.lab.setup import Setup
from layerlink.lab.watch import Watch
from layerlink.lab.weights import read_weights

CHECKPOINT_SECONDS = 600  # within an epoch; one is written after every epoch in any case


def train(setup: Setup, run: RunFolder, *, watch: Watch | None = None, resume: bool = False) -> dict[str, Any]:
    """Train the setup's student and write its run folder.

    Args:
        setup: what ``set_up`` made of a recipe.
        run: the folder to write.
        watch: is told what happens.
        resume: go on with the run in the folder; start it where nothing is there yet.

    Returns:
        The result, as in ``result.json``.

    Raises:
        UsageError: where the folder holds another run, or holds one and ``resume`` is off.
        NotFiniteError: where a loss became NaN or infinite; the last checkpoint stays.
        Interrupted: where the user asked to stop; the run can be resumed.
    """
    watch = watch or Watch()
    # Nothing outside the recipe decides the numbers that a model draws, and nothing outside is changed by them.
    with claimed(run, setup.recipe, resume=resume), torch.random.fork_rng():
        torch.manual_seed(setup.recipe.seed)
        learner = Learner(setup)
        position = open_run(setup, run, learner)
        if run.result.exists():
            return run.read_result()
        return _train(setup, run, learner, position, watch)


def _train(setup: Setup, run: RunFolder, learner: Learner, position: Position, watch: Watch) -> dict[str, Any]:
    """The loop."""
    if not position.rows and not position.step:
        for text in setup.warnings:
            run.warn(text)
            watch.warn(text)
    epochs, batches = setup.recipe.training.epochs, setup.batches
    watch.begin(setup, run, position.epoch)
    with stop_signals() as asked_to_stop:
        saved = time.monotonic()
        while position.epoch < epochs:
            learner.distiller.train()
            clock = time.monotonic()
            for batch in batches.epoch(position.epoch, position.step):
                losses = learner.step(batch)
                now = time.monotonic()
                position.meter.add(losses, batch, now - clock)
                position.step, clock = batch.step + 1, now
                watch.step(position.epoch, batch.step, len(batch.labels), losses)
                if position.step < len(batches) and (asked_to_stop.is_set() or now - saved > CHECKPOINT_SECONDS):
                    save(run, learner, position)
                    saved = clock = time.monotonic()
                    stop_if_asked(asked_to_stop, run.path, epoch=position.epoch, step=position.step)
            finish_epoch(setup, run, learner, position, watch)
            save(run, learner, position)
            saved = time.monotonic()
            if position.epoch < epochs:
                stop_if_asked(asked_to_stop, run.path, epoch=position.epoch, step=position.step)
    return finish(setup, run, learner, position)


def finish_epoch(setup: Setup, run: RunFolder, learner: Learner, position: Position, watch: Watch) -> None:
    """Validate, write the epoch's row, keep the weights where they are the best so far, move on."""
    learner.check_weights()
    accuracy = validation_accuracy(learner.model, setup)
    meter = position.meter
    row = {
        "epoch": position.epoch + 1,
        **meter.means(),
        "validation_accuracy": accuracy,
        "lr": learner.lr,
        "images_per_second": meter.images / max(meter.seconds, 1e-9),
        "seconds": meter.seconds,
    }
    dead = dead_layers(learner.model, setup)
    if dead:
        shares = ", ".join(f"{100 * zeros:.1f} % of {name}" for name, zeros in dead.items())
        text = (
            f"epoch {position.epoch + 1}: dead layers: these activations are 0 on validation images: {shares}. Lower "
            "the links' weights or training.lr, or set training.clip_norm=5"
        )
        run.warn(text)
        watch.warn(text)
    position.rows.append(row)
    run.write_metrics(position.rows)
    if accuracy > position.best_accuracy or setup.recipe.training.keep == "last":
        position.best_accuracy, position.best_epoch = accuracy, position.epoch + 1
        run.write_weights(run.best, learner.model.state_dict())
    position.epoch, position.step, position.meter = position.epoch + 1, 0, Meter()
    watch.epoch(row)


def finish(setup: Setup, run: RunFolder, learner: Learner, position: Position) -> dict[str, Any]:
    """Read the test images once, with the kept weights, and write student and result."""
    weights = read_weights(run.best)
    learner.model.load_state_dict(weights)
    result = {
        **read_test(learner.model, setup),
        "validation_accuracy": position.best_accuracy,
        "validation_images": len(setup.images.validation),
        "epoch": position.best_epoch,
        "epochs": setup.recipe.training.epochs,
        "train_images": len(setup.images.train),
        "parameters": sum(parameter.numel() for parameter in learner.model.parameters()),
        "train_seconds": sum(float(row["seconds"]) for row in position.rows),
        "seed": setup.recipe.seed,
    }
    run.write_weights(run.student, weights)
    run.write_result(result)
    run.best.unlink(missing_ok=True)
    run.checkpoint.unlink(missing_ok=True)
    return result


def default_folder(name: str, seed: int) -> Path:
    """Where a run goes unless told otherwise."""
    return Path("runs") / f"{name}-{seed}"
