"""The training loop, from top to bottom: one student, or several on one teacher pass."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from layerlink.data import Batch
from layerlink.errors import LayerlinkError
from layerlink.lab.evaluation import dead_layers, read_test, validation_accuracy
from layerlink.lab.interruption import stop_if_asked, stop_signals
from layerlink.lab.learner import DroppedError, Learner, Meter, NotFiniteError
from layerlink.lab.resume import Position, claimed, open_run, save
from layerlink.lab.run_folder import RunFolder
from layerlink.lab.setup import Setup
from layerlink.lab.stored_teacher import BatchTeacher, CohortTeacher
from layerlink.lab.watch import Watch
from layerlink.lab.weights import read_weights
from layerlink.transfer import Losses

CHECKPOINT_SECONDS = 600  # at the latest so long after the last one
SHARE_OF_TIME = 0.05  # that checkpoints at the ends of epochs may take


@dataclass
class Member:
    """A student of a cohort.

    Args:
        setup: what ``set_up`` made of its recipe.
        run: its folder.
        learner: student, optimiser and schedule.
        position: how far it is.
        best: the weights to keep so far, where they are not in the run's folder yet.
        failure: why it was dropped; None while it is in.
    """

    setup: Setup
    run: RunFolder
    learner: Learner
    position: Position
    best: dict[str, Tensor] | None = None
    failure: LayerlinkError | None = None


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
    (outcome,) = train_cohort([(setup, run)], watch=watch, resume=resume)
    if isinstance(outcome, LayerlinkError):
        raise outcome
    return outcome


def train_cohort(
    runs: Sequence[tuple[Setup, RunFolder]], *, watch: Watch | None = None, resume: bool = False
) -> list[dict[str, Any] | LayerlinkError]:
    """Train several students side by side: each batch is loaded, and sent through the teacher, once for all.

    Every student ends with the weights that it would have alone. One whose loss becomes NaN or infinite, or for which
    ``watch.epoch`` raises ``DroppedError``, is dropped and the others go on.

    Args:
        runs: setups that ``set_up_cohort`` made, each with its folder.
        watch: is told what happens.
        resume: go on with the runs in the folders.

    Returns:
        For each run its result, or why it was dropped.

    Raises:
        UsageError: where a folder holds another run, or holds one and ``resume`` is off.
        Interrupted: where the user asked to stop; all runs can be resumed.
    """
    with ExitStack() as claims:
        for setup, run in runs:
            claims.enter_context(claimed(run, setup.recipe, resume=resume))
        members = []
        watch = watch or Watch()
        for setup, run in runs:
            learner = Learner(setup)
            members.append(Member(setup, run, learner, open_run(setup, run, learner, watch)))
        _train([member for member in members if not member.run.result.exists()], watch)
        return [member.failure or member.run.read_result() for member in members]


def _train(members: list[Member], watch: Watch) -> None:
    """The loop. Members leave it when they are done; after an interruption, those that are further join it later."""
    for member in members:
        begin(member, watch)
    members = leave_if_done(members, watch)
    if not members:
        return
    batches, (epoch, step) = members[0].setup.batches, min(member.position.place for member in members)
    saving, teachers = Saving(), CohortTeacher([member.setup for member in members], watch)
    with stop_signals() as asked_to_stop:
        while members:
            for member in members:
                member.learner.start_epoch(epoch)
            teacher = teachers.at(epoch, [member.setup for member in members])
            for batch in batches.epoch(epoch, step):
                members = learn(members, batch, teacher, watch)
                if not members:
                    return
                step = batch.step + 1
                if step < len(batches) and (asked_to_stop.is_set() or saving.overdue()):
                    saving.save(members)
                    stop_if_asked(asked_to_stop, [member.run.path for member in members], epoch=epoch, step=step)
            members = end_epoch(members, epoch, watch)
            epoch, step = epoch + 1, 0
            members = leave_if_done(members, watch)
            if members and (asked_to_stop.is_set() or saving.worth_it()):
                saving.save(members)
                stop_if_asked(asked_to_stop, [member.run.path for member in members], epoch=epoch, step=step)


class Saving:
    """Writes checkpoints, as often as they are worth their time: big students on a fast device make short epochs."""

    def __init__(self) -> None:
        self._saved, self._took = time.monotonic(), 0.0

    def overdue(self) -> bool:
        """Whether a checkpoint is due within an epoch."""
        return time.monotonic() - self._saved > CHECKPOINT_SECONDS

    def worth_it(self) -> bool:
        """Whether one at the end of an epoch would take a small share of the time since the last."""
        return self._took <= SHARE_OF_TIME * (time.monotonic() - self._saved)

    def save(self, members: list[Member]) -> None:
        """Write every member's checkpoint, its best weights before it."""
        start = time.monotonic()
        for member in members:
            position = member.position
            if member.best is not None:
                member.run.write_weights(member.run.best(position.best_epoch), member.best)
                member.best = None
            save(member.run, member.learner, position)
        self._saved = time.monotonic()
        self._took = self._saved - start


def leave_if_done(members: list[Member], watch: Watch) -> list[Member]:
    """Finish the members that have learnt for all their epochs; the others."""
    for member in members:
        if member.position.epoch >= member.setup.recipe.training.epochs:
            watch.done(member.run, finish(member))
    return [member for member in members if member.position.epoch < member.setup.recipe.training.epochs]


def learn(members: list[Member], batch: Batch, teacher: BatchTeacher | None, watch: Watch) -> list[Member]:
    """One batch through the teacher and every student that is there yet; the members that are still in."""
    learning = [member for member in members if member.position.place == (batch.epoch, batch.step)]
    clock = time.monotonic()
    taught = None
    if teacher is not None:
        with members[0].setup.arithmetic():
            taught = teacher(batch)
    shared = (time.monotonic() - clock) / max(len(learning), 1)
    first: Losses | None = None
    for member in learning:
        clock = time.monotonic()
        try:
            losses = member.learner.step(batch, taught)
        except NotFiniteError as error:
            member.failure = error
            continue
        member.position.meter.add(losses, batch, time.monotonic() - clock + shared)
        member.position.step = batch.step + 1
        first = first or losses
    if first is not None and batch.epoch is not None:
        watch.step(batch.epoch, batch.step, len(batch.labels), first)
    return still_in(members, watch)


def still_in(members: list[Member], watch: Watch) -> list[Member]:
    """The members without a failure; in a cohort, the others' ends are told."""
    for member in members:
        if member.failure is not None and len(members) > 1:
            text = f"{member.run.path} is dropped, the others go on: {member.failure}"
            member.run.warn(text)
            watch.warn(text)
    return [member for member in members if member.failure is None]


def begin(member: Member, watch: Watch) -> None:
    """Tell that a run begins, and what is odd about it."""
    if not member.position.rows and not member.position.step:
        for text in member.setup.warnings:
            member.run.warn(text)
            watch.warn(text)
    watch.begin(member.setup, member.run, member.position.epoch)


def end_epoch(members: list[Member], epoch: int, watch: Watch) -> list[Member]:
    """Finish the epoch of every member that is in it; those that are still in."""
    for member in (member for member in members if member.position.epoch == epoch):
        try:
            finish_epoch(member, watch)
        except DroppedError as error:
            member.failure = error
    return still_in(members, watch)


def finish_epoch(member: Member, watch: Watch) -> None:
    """Validate, write the epoch's row, keep the weights where they are the best so far, move on."""
    setup, run, learner, position = member.setup, member.run, member.learner, member.position
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
        member.best = {name: value.detach().clone() for name, value in learner.model.state_dict().items()}
    position.epoch, position.step, position.meter = position.epoch + 1, 0, Meter()
    watch.epoch(run, row)


def finish(member: Member) -> dict[str, Any]:
    """Read the test images once, with the kept weights, and write student and result."""
    setup, run, learner, position = member.setup, member.run, member.learner, member.position
    weights = member.best if member.best is not None else read_weights(run.best(position.best_epoch))
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
    if learner.distiller.scales is not None:
        result["link_factors"] = learner.distiller.scales.factors
    run.write_weights(run.student, weights)
    run.write_result(result)
    run.remove_checkpoints()
    return result


def default_folder(name: str, seed: int) -> Path:
    """Where a run goes unless told otherwise."""
    return Path("runs") / f"{name}-{seed}"
