"""The training loop, from top to bottom: one student, or several on one teacher pass."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from layerlink.data import Batch
from layerlink.errors import LayerlinkError
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.compiled.ways import compile_models
from layerlink.lab.run.failures import StudentError, failing_alone
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import stop_if_asked, stop_signals
from layerlink.lab.run.kept_fault import keep_fault
from layerlink.lab.run.learning.faults import LOOK_EVERY, look_at
from layerlink.lab.run.learning.learner import DroppedError, NotFiniteError
from layerlink.lab.run.learning.mutual import learner_of
from layerlink.lab.run.learning.step import taught_for
from layerlink.lab.run.member import Member, Saving, begin, finish, finish_epoch
from layerlink.lab.run.resume import claimed, open_run
from layerlink.lab.run.setup.setup import Setup
from layerlink.lab.run.teaching.cohort_teacher import CohortTeacher
from layerlink.lab.run.tracking import tracked
from layerlink.lab.run.watch import Watch
from layerlink.teachers import Teacher
from layerlink.transfer import Losses


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

    Every student ends with the weights that it would have alone. One whose loss becomes NaN or infinite, whose model
    raises an error, or for which ``watch.epoch`` raises ``DroppedError``, is dropped and the others go on.

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
        here().first_says(lambda: _claim_all(claims, runs, resume=resume))
        members = []
        watch = watch or Watch()
        for setup, run in runs:
            learner = learner_of(setup)
            members.append(Member(setup, run, learner, open_run(setup, run, learner, watch)))
        finished = here().first_says(lambda: [member.run.result.exists() for member in members])
        with tracked(watch, [setup for setup, _ in runs]) as told:
            _train([member for member, done in zip(members, finished, strict=True) if not done], told)
        results = here().first_says(
            lambda: [None if member.failure else member.run.read_result() for member in members]
        )
        return [member.failure or result or {} for member, result in zip(members, results, strict=True)]


def _claim_all(claims: ExitStack, runs: Sequence[tuple[Setup, RunFolder]], *, resume: bool) -> None:
    for setup, run in runs:
        claims.enter_context(claimed(run, setup.recipe, resume=resume))


def _train(members: list[Member], watch: Watch) -> None:
    """The loop. Members leave it when they are done; after an interruption, those that are further join it later."""
    for member in members:
        try:
            begin(member, watch)
        except DroppedError as error:
            member.failure = error
    members = still_in(members, watch)
    members = leave_if_done(members, watch)
    if not members:
        return
    batches, (epoch, step) = members[0].setup.batches, min(member.position.place for member in members)
    saving, teachers = Saving(), CohortTeacher([member.setup for member in members], watch)
    compile_models(members, teachers, watch)
    members = still_in(members, watch)
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
                if step == len(batches) or not batch.ends_update:  # gradients are in no checkpoint
                    continue
                if step // batches.together % here().steps_between_questions:
                    continue
                stop, overdue = here().any(asked_to_stop.is_set(), saving.overdue())
                if stop or overdue:
                    members = looked_at(members, watch)
                    if not members:
                        return
                    saving.save(members)
                    stop_if_asked(stop, [member.run.path for member in members], epoch=epoch, step=step)
            members = end_epoch(members, epoch, watch)
            epoch, step = epoch + 1, 0
            members = leave_if_done(members, watch)
            stop, worth_it = here().any(asked_to_stop.is_set(), saving.worth_it())
            if members and (stop or worth_it):
                saving.save(members)
                stop_if_asked(stop, [member.run.path for member in members], epoch=epoch, step=step)


def leave_if_done(members: list[Member], watch: Watch) -> list[Member]:
    """Finish the members that have learnt for all their epochs; the others."""
    for member in members:
        if member.position.epoch >= member.setup.recipe.training.epochs:
            try:
                with failing_alone("reading the test images"):
                    result = finish(member)
            except DroppedError as error:
                member.failure = dropped(error)
                continue
            watch.done(member.run, result)
    members = still_in(members, watch)
    return [member for member in members if member.position.epoch < member.setup.recipe.training.epochs]


def dropped(error: DroppedError) -> DroppedError:
    """The failure of one student; where several processes train together, that of all.

    Raises:
        StudentError: there, since the others do not know of it.
    """
    if here().size > 1 and isinstance(error, StudentError):
        raise error
    return error


def _kept(error: DroppedError, member: Member, now: tuple[int, int]) -> DroppedError:
    """The error; where a loss or a weight became NaN or infinite, its step is kept in the run's folder."""
    return keep_fault(member.run, member.learner, error, now) if isinstance(error, NotFiniteError) else error


def learn(members: list[Member], batch: Batch, teacher: Teacher | None, watch: Watch) -> list[Member]:
    """One batch through the teacher and every student that is there yet; the members that are still in."""
    learning = [member for member in members if member.position.place == (batch.epoch, batch.step)]
    clock = time.monotonic()
    taught = taught_for(teacher, [member.setup for member in learning], batch)
    shared = (time.monotonic() - clock) / max(len(learning), 1)
    first: Losses | None = None
    for member in learning:
        clock = time.monotonic()
        # A student may work in place on what it gets, and the others need it.
        own = batch if member is learning[-1] else batch.copied()
        try:
            with failing_alone(f"epoch {(batch.epoch or 0) + 1}, step {batch.step + 1}"):
                losses = member.learner.step(own, taught)
        except DroppedError as error:
            failure = first_fault(member) or error
            member.failure = dropped(_kept(failure, member, (batch.epoch or 0, batch.step)))
            continue
        member.position.add(losses, batch, time.monotonic() - clock + shared, member.setup.task, here())
        first = first or losses
    if first is not None and batch.epoch is not None:
        watch.step(batch.epoch, batch.step, batch.count, first)
    step = batch.step + 1
    is_due = step % LOOK_EVERY == 0 or step == len(members[0].setup.batches)
    return looked_at(members, watch) if is_due else still_in(members, watch)


def looked_at(members: list[Member], watch: Watch) -> list[Member]:
    """Wait for the device and see whose loss was no finite number since the last look; the members that are still in.

    Until then a student whose step was faulty has learnt nothing more, so what a checkpoint would hold is known here.
    """
    clock = time.monotonic()
    for member, fault in zip(members, look_at([member.learner.faults for member in members]), strict=True):
        if fault is not None:
            failure = first_fault(member)
            member.failure = _kept(failure, member, (fault.epoch, fault.step)) if failure is not None else None
    for member in members:  # the device's work of the steps before is waited for here
        member.position.meter.seconds += (time.monotonic() - clock) / len(members)
    return still_in(members, watch)


def first_fault(member: Member) -> DroppedError | None:
    """The step from which on a student's losses were not finite, as its failure; None where all were."""
    try:
        member.learner.check_finite()
    except DroppedError as error:
        return error
    return None


def still_in(members: list[Member], watch: Watch) -> list[Member]:
    """The members without a failure; in a cohort, the others' ends are told."""
    for member in members:
        if member.failure is not None and len(members) > 1:
            text = f"{member.run.path} is dropped, the others go on: {member.failure}"
            member.run.warn(text)
            watch.warn(text)
    return [member for member in members if member.failure is None]


def end_epoch(members: list[Member], epoch: int, watch: Watch) -> list[Member]:
    """Finish the epoch of every member that is in it; those that are still in."""
    for member in (member for member in members if member.position.epoch == epoch):
        try:
            with failing_alone(f"validation after epoch {epoch + 1}"):
                finish_epoch(member, watch)
        except DroppedError as error:
            member.failure = dropped(_kept(error, member, (epoch, len(member.setup.batches) - 1)))
    return still_in(members, watch)


def default_folder(name: str, seed: int) -> Path:
    """Where a run goes unless told otherwise."""
    return Path("runs") / f"{name}-{seed}"
