"""The training loop: one recipe, one student, from top to bottom."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.evaluation import dead_layers, read_test, validation_accuracy
from layerlink.lab.learner import Learner, Meter
from layerlink.lab.machine import describe_machine
from layerlink.lab.recipe import Recipe
from layerlink.lab.recipe_file import dump_recipe
from layerlink.lab.run_folder import RunFolder, read_weights
from layerlink.lab.setup import Setup
from layerlink.transfer import Losses

CHECKPOINT_SECONDS = 600  # within an epoch; one is written after every epoch in any case


class Watch(Protocol):
    """Is told what happens."""

    def begin(self, setup: Setup, run: RunFolder, epoch: int) -> None:
        """Training begins, or goes on, at ``epoch`` (from 0)."""

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """Step ``step`` of ``epoch`` (both from 0) with so many images is done."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done; ``row`` is its row of metrics."""

    def warn(self, text: str) -> None:
        """Something to know, with its number and what to change."""


class Silence:
    """Watches without a word."""

    def begin(self, setup: Setup, run: RunFolder, epoch: int) -> None:
        """Nothing."""

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """Nothing."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""


class Interrupted(LayerlinkError):  # noqa: N818 - nothing went wrong
    """The user stopped the run; a checkpoint was written."""


@dataclass
class Position:
    """How far a run is.

    Args:
        epoch: from 0; ``step`` steps of it are done.
        step: from 0, within the epoch.
        meter: what the epoch gave so far.
        rows: the finished epochs' metrics.
        best_accuracy: validation accuracy of the epoch whose weights are kept so far, in percent.
        best_epoch: that epoch, from 1; 0 where none is finished.
    """

    epoch: int = 0
    step: int = 0
    meter: Meter = field(default_factory=Meter)
    rows: list[dict[str, Any]] = field(default_factory=list)
    best_accuracy: float = -1.0
    best_epoch: int = 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        return {**vars(self), "meter": self.meter.state_dict()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Position:
        """The position that ``state_dict`` gave."""
        return cls(**{**state, "meter": Meter(state["meter"])})


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
    watch = watch or Silence()
    # Nothing outside the recipe decides the numbers that a model draws, and nothing outside is changed by them.
    with torch.random.fork_rng():
        torch.manual_seed(setup.recipe.seed)
        learner = Learner(setup)
        position = open_run(setup, run, learner, resume=resume)
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
                    stop_if_asked(asked_to_stop, run, position)
            finish_epoch(setup, run, learner, position, watch)
            save(run, learner, position)
            saved = time.monotonic()
            if position.epoch < epochs:
                stop_if_asked(asked_to_stop, run, position)
    return finish(setup, run, learner, position)


def claim(run: RunFolder, recipe: Recipe, *, resume: bool) -> None:
    """Raise ``UsageError`` where the folder is not this run's: told before minutes are spent on setting up."""
    if not (resume and run.recipe.exists()):
        run.check_empty()
        return
    there, here = run.recipe.read_text(encoding="utf-8"), dump_recipe(recipe)
    if there != here:
        raise UsageError(f"{run.path} holds a run of another recipe:\n{_differences(there, here)}")


def open_run(setup: Setup, run: RunFolder, learner: Learner, *, resume: bool) -> Position:
    """Claim the folder, or read where its run stands and put the learner there."""
    claim(run, setup.recipe, resume=resume)
    if not run.data.exists():  # new, or stopped before its first file was whole
        run.start(dump_recipe(setup.recipe), describe_machine(setup.device, setup.precision), setup.images.stamp)
        return Position()
    _check_data(setup, run)
    if not run.checkpoint.exists():
        return Position()
    state = run.read_checkpoint()
    try:
        learner.load_state_dict(state["learner"])
        return Position.from_state(state["position"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise LayerlinkError(
            f"{run.checkpoint} is of another model or version of layerlink: {error}. Start again with --out FOLDER"
        ) from error


def _check_data(setup: Setup, run: RunFolder) -> None:
    before, now = run.read_data(), setup.images.stamp
    changed = [f"  {name}: {before.get(name)}   now: {now[name]}" for name in now if before.get(name) != now[name]]
    if changed:
        lines = "\n".join(changed)
        raise UsageError(
            f"{run.path} was trained on other data:\n{lines}\nBring it back, or start again with --out FOLDER"
        )


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


def save(run: RunFolder, learner: Learner, position: Position) -> None:
    """Write a checkpoint."""
    run.write_checkpoint({"learner": learner.state_dict(), "position": position.state_dict()})


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


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Ctrl-C (and SIGTERM) ask to stop at the next step; a second Ctrl-C stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(_number: int, _frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_if_asked(asked: threading.Event, run: RunFolder, position: Position) -> None:
    """Raise ``Interrupted`` where the user asked to stop; the checkpoint is written by then."""
    if asked.is_set():
        raise Interrupted(
            f"stopped in epoch {position.epoch + 1} after {position.step} steps. Nothing is lost: the same command "
            f"with --resume goes on ({run.path})"
        )


def default_folder(name: str, seed: int) -> Path:
    """Where a run goes unless told otherwise."""
    return Path("runs") / f"{name}-{seed}"


def _differences(there: str, here: str) -> str:
    """The lines of two resolved recipes that differ; both have the same fields in the same order."""
    pairs = zip(there.splitlines(), here.splitlines(), strict=False)
    lines = [f"  {old.strip()}   now: {new.strip()}" for old, new in pairs if old != new]
    return (
        "\n".join(lines[:10]) + "\nGive the same recipe and overrides to go on with it, or --out FOLDER for another run"
    )
