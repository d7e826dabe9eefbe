"""Cohorts: students that share data, order, views and teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerlink.errors import UsageError
from layerlink.lab.recipe import Recipe
from layerlink.lab.recipe_file import LoadedRecipe
from layerlink.lab.setup import Setup, set_up
from layerlink.transfer import LiveTeacher, Teacher


def shared_fields(recipe: Recipe) -> dict[str, Any]:
    """What the students of a cohort have in common, by field: all that decides batches and the teacher's pass."""
    return {
        "data": recipe.data,
        "teacher": recipe.teacher,
        "seed": recipe.seed,
        "device": recipe.device,
        "precision": recipe.precision,
        "training.batch_size": recipe.training.batch_size,
        "training.epochs": recipe.training.epochs,
    }


def set_up_cohort(recipes: Sequence[LoadedRecipe]) -> list[Setup]:
    """Set up several recipes over one set of images and one teacher.

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
    setups = [set_up(recipes[0])]
    teacher = setups[0].distiller.teacher
    model = teacher.model if isinstance(teacher, LiveTeacher) else None
    return setups + [set_up(loaded, images=setups[0].images, teacher=model) for loaded in recipes[1:]]


def common_teacher(setups: Sequence[Setup]) -> Teacher | None:
    """A teacher that gives in one pass what all the setups ask of theirs; None where none asks for anything."""
    asking = [setup.distiller for setup in setups if setup.distiller.objective.needs_teacher]
    teachers = [distiller.teacher for distiller in asking if isinstance(distiller.teacher, LiveTeacher)]
    if not teachers:
        return None
    return LiveTeacher(
        teachers[0].model,
        [tap for teacher in teachers for tap in teacher.recorder.taps],
        logits=any(teacher.logits for teacher in teachers),
        element=teachers[0].element,
    )
