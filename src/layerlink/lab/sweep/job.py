"""Jobs of a sweep: what one machine does, and the protocol of what runs jobs elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from layerlink.errors import LayerlinkError
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import several_trainings
from layerlink.lab.run.watch import Watch
from layerlink.lab.sweep.family import LoadedFamily
from layerlink.lab.sweep.file import Plan, Planned
from layerlink.lab.sweep.running import cohorts, parts_of, run_cohort, train_teacher, unfinished


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
    family: LoadedFamily | None = None


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


def work(part: Part) -> str:
    """Do a part, on whatever machine this is; why it was not done, or nothing. What is finished is not repeated."""
    os.chdir(part.folder)
    try:
        with several_trainings(part.folder):
            if part.family is not None:
                train_teacher(part.family, part.runs, Watch())
            elif todo := unfinished(part.runs):
                failures = run_cohort(todo, part.most, Watch())
                return "; ".join(f"{folder}: {failure}" for folder, failure in failures.items())
    except LayerlinkError as error:
        return str(error)
    return ""


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
