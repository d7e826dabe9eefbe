"""Sweeps over machines: cohorts go out as jobs; runs land in their folders, which all machines see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerlink.errors import LayerlinkError, UsageError, unknown_name
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.ownership import adopt
from layerlink.lab.run.watch import Watch
from layerlink.lab.sweep.file import Plan, Planned
from layerlink.lab.sweep.folder import SweepFolder
from layerlink.lab.sweep.job import Machines, Part, cohort_parts, teacher_parts
from layerlink.lab.sweep.running import Outcome, check_folders, outcome_of

MACHINES = ("ray", "slurm")


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
                for run in part.runs:  # made there with another user's key, perhaps, as this one has asked
                    adopt(RunFolder(run.folder), run.loaded.recipe)
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
