"""Cohorts: students that share data, order, views and teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerlink.errors import UsageError
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.setup.setup import Setup, set_up


def shared_fields(recipe: Recipe) -> dict[str, Any]:
    """What the students of a cohort have in common, by field: all that decides batches and the teacher's pass."""
    return {
        "data": recipe.data,
        "task": recipe.task,
        "teacher": recipe.teacher,
        "seed": recipe.seed,
        "device": recipe.device,
        "precision": recipe.precision,
        "training.batch_size": recipe.training.batch_size,
    }


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
    taught_by = setups[0].taught_by
    model = None if taught_by is None else taught_by.model
    return setups + [set_up(loaded, images=setups[0].images, teacher=model) for loaded in recipes[1:]]
