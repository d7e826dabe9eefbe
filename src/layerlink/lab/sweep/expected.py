"""What a sweep is expected to take, from a step of every cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from layerlink.errors import Problem, ProblemsError
from layerlink.lab.bench.costs import measure_costs, students_that_fit
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.cohort import set_up_each
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.lab.sweep.file import Plan, Planned
from layerlink.lab.sweep.running import cohorts


@dataclass(frozen=True)
class CohortCost:
    """What one cohort is expected to take.

    Args:
        runs: its unfinished runs.
        together: how many at a time.
        teacher_seconds: one pass of the teacher over a batch.
        student_seconds: one step of one student.
        steps: of the longest run.
        seconds: in all, validation not counted.
    """

    runs: tuple[Planned, ...]
    together: int
    teacher_seconds: float
    student_seconds: float
    steps: int
    seconds: float


def expected_costs(plan: Plan) -> list[CohortCost]:
    """Set up every row, and measure a step of one student of every cohort; nothing is trained.

    A teacher that is not trained yet is stood in for. Finished epochs of runs that are begun are not taken off.

    Raises:
        ProblemsError: every row whose student or links cannot be.
    """
    costs = []
    problems: dict[str, Problem] = {}
    for runs in cohorts(plan.runs):
        setup = _most_typical(plan, runs, problems)
        if setup is None:
            continue
        step = measure_costs(setup)
        together = min(plan.sweep.cohort or students_that_fit(setup, step), len(runs))
        epochs = [run.loaded.recipe.training.epochs for run in runs]
        per_epoch = len(setup.batches)
        passes = -(-len(runs) // together) * max(epochs)
        seconds = per_epoch * (passes * step.teacher_seconds + sum(epochs) * step.student_seconds)
        costs.append(
            CohortCost(
                tuple(runs), together, step.teacher_seconds, step.student_seconds, per_epoch * max(epochs), seconds
            )
        )
    if problems:
        raise ProblemsError(str(plan.folder), list(problems.values()))
    return costs


def _most_typical(plan: Plan, runs: Sequence[Planned], problems: dict[str, Problem]) -> Setup | None:
    """Of a cohort's rows the one with the most terms, set up; None where none can be. All of them are tried."""
    rows = list({run.row.name: run for run in runs}.values())  # seeds differ in nothing that could be wrong
    best: tuple[int, Setup] | None = None
    known = None
    teacher: nn.Module | dict[str, nn.Module] | None = _stand_in(plan, rows[0])
    for run in rows:  # one at a time: many students need not fit into memory together
        (made,) = set_up_each([run.loaded], teacher=teacher, images=known)
        if isinstance(made, ProblemsError):
            what = "\n".join(f"{problem.where}: {problem.what}" for problem in made.problems)
            problems.setdefault(run.row.name, Problem(f"row {run.row.name!r}", what))
            continue
        known, teacher = made.images, made.teachers or teacher
        recipe = run.loaded.recipe
        terms = (recipe.soft is not None) + len(recipe.links) + len(recipe.peers or ())
        if best is None or terms > best[0]:
            best = terms, made
    return None if best is None else best[1]


def _stand_in(plan: Plan, run: Planned) -> nn.Module | None:
    """An untrained teacher of the same make, where the sweep has not trained its own yet."""
    if (
        plan.family.teacher is None
        or run.loaded.recipe.teacher is None
        or RunFolder(plan.family.teacher_folder).result.exists()
    ):
        return None
    return set_up(plan.family.teacher).distiller.student
