"""Sweeps over machines: cohorts go out as jobs; runs land in their folders, which all machines see."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from layerlink.errors import LayerlinkError, UsageError, unknown_name
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted, several_trainings
from layerlink.lab.run.watch import Watch
from layerlink.lab.sweep.family import Loaded
from layerlink.lab.sweep.file import Plan, Planned
from layerlink.lab.sweep.folder import SweepFolder
from layerlink.lab.sweep.running import (
    Outcome,
    check_folders,
    cohorts,
    outcome_of,
    parts_of,
    run_cohort,
    train_teacher,
    unfinished,
)

MACHINES = ("ray", "slurm")


@dataclass(frozen=True)
class Part:
    """What one job does.

    Args:
        name: for people.
        folder: that paths are relative to; the same on all machines.
        runs: to train side by side; for a teacher's part, those that need it.
        most: how many at a time; None for what memory holds.
        family: whose teacher is to be trained; None for a cohort.
    """

    name: str
    folder: Path
    runs: tuple[Planned, ...]
    most: int | None = None
    family: Loaded | None = None


class Machines(Protocol):
    """Something that runs jobs elsewhere."""

    def submit(self, part: Part) -> Any:
        """Start a job (hashable) that calls ``work`` on the part."""
        ...

    def finished(self, jobs: Sequence[Any]) -> list[Any]:
        """The jobs that are over, after a second at the most."""
        ...

    def failure(self, job: Any) -> str:
        """Why a job that is over did not do its part; empty where it did."""
        ...

    def cancel(self, jobs: Iterable[Any]) -> None:
        """Stop jobs; those that can are given time for a checkpoint."""
        ...


def machines_named(name: str, folder: Path, options: Sequence[str]) -> Machines:
    """What ``--on`` names.

    Args:
        name: one of ``MACHINES``.
        folder: of the sweep; logs of jobs go below it.
        options: ``KEY=VALUE`` texts that every job gets, in the words of Ray or submitit.

    Raises:
        UsageError: for another name or an option that cannot be.
        LayerlinkError: where the extra is missing.
    """
    if name not in MACHINES:
        raise UsageError(unknown_name("--on", name, MACHINES))
    if here().size > 1:
        raise UsageError("--on sends whole cohorts to machines; start it without torchrun")
    words = dict(_option(text) for text in options)
    if name == "ray":
        from layerlink.lab.sweep.on_ray import Ray

        return Ray(words)
    from layerlink.lab.sweep.on_slurm import Slurm

    return Slurm(folder / "jobs", words)


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise UsageError(f"--job must be KEY=VALUE, such as --job num_gpus=1; got {text!r}")
    try:
        return key, int(value)
    except ValueError:
        return key, value


def work(part: Part) -> str:
    """Do a part, on whatever machine this is; why it was not done, or nothing. What is finished is not repeated."""
    os.chdir(part.folder)
    try:
        with several_trainings(part.folder):
            if part.family is not None:
                train_teacher(part.family, part.runs, Watch())
            elif todo := unfinished(part.runs):
                run_cohort(todo, part.most, Watch())
    except LayerlinkError as error:
        return str(error)
    return ""


def run_sweep_on(machines: Machines, plan: Plan, *, command: str, watch: Watch) -> list[Outcome]:
    """Run everything that is not finished, as ``run_sweep`` does, every cohort as a job.

    A cohort is what shares a teacher pass, cut into parts of ``cohort`` runs where the sweep says how many. One that
    fails leaves the others alone; the same call tries it again.

    Args:
        machines: what runs the jobs.
        plan: what ``load_sweep`` made of a file.
        command: kept in the manifest, to repeat it.
        watch: is told what happens.

    Returns:
        One outcome a run, in the plan's order.

    Raises:
        UsageError: as ``run_sweep``.
        LayerlinkError: where the teacher was not trained.
        Interrupted: where the user asked to stop; jobs are cancelled. The same call goes on.
    """
    folder = SweepFolder(plan.folder)
    with folder.alone():
        check_folders(plan)
        folder.describe(plan, command)
        failures = _run(machines, teacher_parts(plan), watch)
        if failures:
            raise LayerlinkError(f"the teacher was not trained: {next(iter(failures.values()))}")
        failures = _run(machines, cohort_parts(plan), watch)
    return [_outcome(run, failures.get(run.folder, "")) for run in plan.runs]


def teacher_parts(plan: Plan) -> list[Part]:
    """The teacher's training, where it is the sweep's and some run still needs it."""
    needing = tuple(run for run in unfinished(plan.runs) if run.loaded.recipe.teacher)
    trained = RunFolder(plan.family.teacher_folder).result.exists()
    if plan.family.teacher is None or trained or not needing:
        return []
    return [Part("teacher", Path.cwd(), needing, family=plan.family)]


def cohort_parts(plan: Plan) -> list[Part]:
    """The unfinished runs as jobs."""
    most, parts = plan.sweep.cohort, []
    for cohort in cohorts(plan.runs):
        for runs in parts_of(cohort, most or len(cohort)):
            more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
            parts.append(Part(f"{runs[0].folder.name}{more}", Path.cwd(), tuple(runs), most))
    return parts


def _run(machines: Machines, parts: Sequence[Part], watch: Watch) -> Mapping[Path, str]:
    """Run all parts; why runs were not done, by folder."""
    failures: dict[Path, str] = {}
    waiting: dict[Any, Part] = {}
    try:
        for part in parts:
            waiting[machines.submit(part)] = part
        while waiting:
            for job in machines.finished(list(waiting)):
                part = waiting.pop(job)
                failure = machines.failure(job)
                failures.update({run.folder: failure for run in part.runs if failure})
                if failure:
                    watch.warn(f"{part.name}: failed, the others go on: {failure}")
                else:
                    watch.tell(f"{part.name}: done; {len(waiting)} of {len(parts)} jobs left")
    except BaseException as error:
        machines.cancel(list(waiting))
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted("stopped; the jobs are cancelled. Nothing is lost: the same command goes on") from None
        raise
    return failures


def _outcome(run: Planned, failure: str) -> Outcome:
    folder = RunFolder(run.folder)
    if folder.result.exists() or folder.failure.exists():
        return outcome_of(run)
    return Outcome(run, None, failure or "not finished; the same command goes on")
