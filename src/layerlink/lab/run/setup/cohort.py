"""Cohorts: students that share data, order, views and teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerlink.errors import UsageError
from layerlink.lab.bench.costs import Costs, measure_costs
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.setup.machine import free_memory
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.transfer import LiveTeacher, Teacher

SHARE_OF_MEMORY = 0.7  # of what is free; the rest is for validation batches, checkpoints and other programs


def shared_fields(recipe: Recipe) -> dict[str, Any]:
    """What the students of a cohort have in common, by field: all that decides batches and the teacher's pass."""
    return {
        "data": recipe.data,
        "teacher": recipe.teacher,
        "seed": recipe.seed,
        "device": recipe.device,
        "precision": recipe.precision,
        "training.batch_size": recipe.training.batch_size,
    }


def students_that_fit(setup: Setup, costs: Costs | None = None) -> int:
    """How many students like this one the free memory holds beside one teacher; at least 1.

    Each keeps weights, gradients and optimiser; only one at a time keeps the activations of its step.
    """
    costs = costs or measure_costs(setup)
    free = free_memory(setup.device) * SHARE_OF_MEMORY - costs.shared_bytes
    return max(1, int(free / costs.student_bytes))


def set_up_cohort(recipes: Sequence[LoadedRecipe], first_setup: Setup | None = None) -> list[Setup]:
    """Set up several recipes over one set of images and one teacher.

    Args:
        recipes: at least one.
        first_setup: of the first, where it is made already.

    Raises:
        UsageError: where they differ in what a cohort shares.
        ProblemsError: what is wrong with a recipe, as ``set_up`` tells it.
    """
    first = shared_fields(recipes[0].recipe)
    for loaded in recipes[1:]:
        other = shared_fields(loaded.recipe)
        differing = [name for name in first if first[name] != other[name]]
        if differing:
            raise UsageError(
                f"{loaded.name} cannot share a teacher pass with {recipes[0].name}: {differing[0]} differs"
            )
    setups = [first_setup or set_up(recipes[0])]
    teacher = setups[0].distiller.teacher
    model = teacher.model if isinstance(teacher, LiveTeacher) else None
    return setups + [set_up(loaded, images=setups[0].images, teacher=model) for loaded in recipes[1:]]


def common_teacher(setups: Sequence[Setup]) -> Teacher | None:
    """A teacher that gives in one pass what all the setups ask of theirs now; None where none asks for anything."""
    asking = [setup.distiller for setup in setups if setup.distiller.objective.needs_teacher]
    teachers = [distiller.teacher for distiller in asking if isinstance(distiller.teacher, LiveTeacher)]
    if not teachers:
        return None
    objectives = [distiller.objective for distiller in asking]
    return LiveTeacher(
        teachers[0].model,
        [link.teacher for objective in objectives for link in objective.links],
        logits=any(objective.soft is not None for objective in objectives),
        element=teachers[0].element,
    )
