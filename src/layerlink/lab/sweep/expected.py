"""What a sweep is expected to take, from a step of every cohort."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from layerlink.lab.bench.costs import measure_costs, students_that_fit
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import set_up
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
    """Measure a step of one student of every cohort, train nothing; a teacher that is not trained yet is stood in for.

    Finished epochs of runs that are begun are not taken off.
    """
    costs = []
    for runs in cohorts(plan.runs):
        typical = max(runs, key=lambda run: (run.loaded.recipe.soft is not None) + len(run.loaded.recipe.links))
        setup = set_up(typical.loaded, teacher=_stand_in(plan, typical))
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
    return costs


def _stand_in(plan: Plan, run: Planned) -> nn.Module | None:
    """An untrained teacher of the same make, where the sweep has not trained its own yet."""
    if (
        plan.family.teacher is None
        or run.loaded.recipe.teacher is None
        or RunFolder(plan.family.teacher_folder).result.exists()
    ):
        return None
    return set_up(plan.family.teacher).distiller.student
