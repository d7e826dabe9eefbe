"""Cohorts: students that share data, order, views and teacher."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from layerlink.errors import Problem, ProblemsError, UsageError
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.setup.images import Images
from layerlink.lab.run.setup.setup import Setup, set_up


def shared_fields(recipe: Recipe) -> dict[str, Any]:
    """What the students of a cohort have in common, by field: all that decides batches and the teacher's pass."""
    return {
        "data": recipe.data,
        "task": recipe.task,
        "teacher": recipe.teacher,
        "teachers": recipe.teachers,
        "seed": recipe.seed,
        "device": recipe.device,
        "precision": recipe.precision,
        "compile": recipe.compile,
        "training.batch_size": recipe.training.batch_size,
        "training.accumulate": recipe.training.accumulate,
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
    setups = []
    for made in set_up_each(recipes, first_setup):
        if isinstance(made, ProblemsError):
            raise made
        setups.append(made)
    return setups


def set_up_each(
    recipes: Sequence[LoadedRecipe],
    first_setup: Setup | None = None,
    *,
    teacher: nn.Module | Mapping[str, nn.Module] | None = None,
    images: Images | None = None,
) -> list[Setup | ProblemsError]:
    """As ``set_up_cohort``; in place of a recipe whose student or links cannot be, what is wrong with it.

    Args:
        recipes: at least one.
        first_setup: of the first, where it is made already.
        teacher: in place of the one that the recipes name.
        images: the recipes' own, where they are loaded already.

    Raises:
        UsageError: where they differ in what a cohort shares.
        ProblemsError: what is wrong with what they share, such as their teacher.
    """
    shared = shared_fields(recipes[0].recipe)
    for loaded in recipes[1:]:
        other = shared_fields(loaded.recipe)
        differing = [name for name in shared if shared[name] != other[name]]
        if differing:
            raise UsageError(
                f"{loaded.name} cannot share a teacher pass with {recipes[0].name}: {differing[0]} differs"
            )
    images = first_setup.images if first_setup is not None else images
    made: list[Setup | ProblemsError] = []
    for place, loaded in enumerate(recipes):
        try:
            setup = first_setup if place == 0 and first_setup else set_up(loaded, images=images, teacher=teacher)
        except ProblemsError as error:
            if not set(map(_section, error.problems)) <= _OWN_SECTIONS:
                raise
            made.append(error)
            continue
        images = setup.images
        teacher = setup.teachers or teacher
        made.append(setup)
    return made


# What a run of a cohort has by itself; all else is wrong with every one of them.
_OWN_SECTIONS = {"student", "peers", "links", "hard", "soft", "training", "models"}


def _section(problem: Problem) -> str:
    return re.split(r"[^a-z_]", problem.where, maxsplit=1)[0]
