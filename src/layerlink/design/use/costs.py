"""How large a run's models are and what an example costs them, for its card; no data and no weights are read for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from layerlink.config.image_size import sides
from layerlink.data.text.preprocessing import TextPreprocessing
from layerlink.errors import LayerlinkError
from layerlink.files.paths import expanded
from layerlink.lab.recipe.models import ModelSection, TeacherSection
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.recipe.texts import TextSection
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import ForeignCodeError, recipe_of_run, trusted_recipe_of_run
from layerlink.lab.run.setup.models import MadeFor, make_model
from layerlink.lab.run.trained import carried_student, made_for_run
from layerlink.measure.flops import count_flops, count_parameters
from layerlink.user_code import HUB, is_code


@dataclass(frozen=True)
class Cost:
    """What one model of a run costs.

    Args:
        role: "student", "teacher" or "teacher NAME".
        model: as the recipe names it.
        parameters: count; None where the model was not made.
        flops: of one example's forward pass; None where the model was not made.
        why_not: why it was not made; empty where it was.
    """

    role: str
    model: str
    parameters: int | None = None
    flops: int | None = None
    why_not: str = ""


@dataclass(frozen=True)
class Costs:
    """What the models of a run cost.

    Args:
        each: the student, then its frozen teachers.
        example: what the FLOPs are of, such as "an image of 32x32 pixels".
    """

    each: tuple[Cost, ...]
    example: str


def costs_of(run: RunFolder) -> Costs:
    """Parameters and FLOPs of the student and of the teachers that were trained before.

    Code is called only where this user made the run, and nothing is fetched: of a model of the hub's by name alone
    nothing is counted.

    Raises:
        LayerlinkError: where a file of the run is damaged.
    """
    facts = run.read_data()
    try:
        recipe, own = trusted_recipe_of_run(run).recipe, True
    except ForeignCodeError:
        recipe, own = recipe_of_run(run).recipe, False
    length = _length(facts, run, recipe)
    classes = facts.get("classes")
    made_for = made_for_run(facts, run, recipe, len(classes) if isinstance(classes, list) else 0)
    each = tuple(
        _cost(role, section, made_for, length, recipe, own=own)
        for role, section in _models(recipe, carried_student(recipe.student, run))
    )
    return Costs(each, _example_of(length, made_for))


def _length(facts: Mapping[str, Any], run: RunFolder, recipe: Recipe) -> int | None:
    """Tokens of the longest texts; None of images."""
    if "vocabulary" not in facts:
        return None
    section = recipe.data.texts or TextSection.model_validate({})
    return TextPreprocessing.of_run(facts, run.data, section.columns).max_length


def _models(recipe: Recipe, student: ModelSection) -> Iterator[tuple[str, ModelSection]]:
    yield "student", student
    for name, section in recipe.frozen_teachers.items():
        yield f"teacher {name}".strip(), section


def _cost(
    role: str, section: ModelSection, made_for: MadeFor, length: int | None, recipe: Recipe, *, own: bool
) -> Cost:
    name = recipe.student.model if role == "student" else section.model
    if is_code(section.model) and not own:
        return Cost(
            role, name, why_not="it is code that the folder names and that you did not write, and was not called"
        )
    arguments = section.arguments
    if section.model.startswith(HUB):
        if not expanded(Path(section.model.removeprefix(HUB))).exists():
            return Cost(role, name, why_not="its configuration is not on this machine")
        arguments = {**arguments, "pretrained": False}
    if isinstance(section, TeacherSection) and section.image_size is not None:
        made_for = made_for._replace(image_size=section.image_size)
    try:
        example = _example(length, made_for)
        plain = section.model_copy(update={"arguments": arguments})
        model = make_model(plain, made_for, recipe.seed, lambda: torch.cat([example] * 2), role)  # type: ignore[list-item]
        return Cost(role, name, count_parameters(model), count_flops(model, example))
    except (LayerlinkError, RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        return Cost(
            role,
            name,
            why_not=f"it does not run on {_example_of(length, made_for)}: {' '.join(str(error).split())[:200]}",
        )


def _example(length: int | None, made_for: MadeFor) -> Tensor | dict[str, Tensor]:
    """One example, of which every value is 0."""
    if length is None:
        return torch.zeros(1, made_for.channels, *sides(made_for.image_size))
    tokens = torch.zeros(1, length, dtype=torch.int64)
    return {"input_ids": tokens, "attention_mask": tokens + 1}


def _example_of(length: int | None, made_for: MadeFor) -> str:
    if length is not None:
        kind = "sequence" if made_for.head == "causal-lm" else "text"
        return f"a {kind} of {length:,} tokens"
    return f"an image of {'x'.join(map(str, sides(made_for.image_size)))} pixels"
