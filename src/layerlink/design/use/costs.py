"""How large a run's models are and what an example costs them, for its card; no data and no weights are read for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from layerlink.config.image_size import sides
from layerlink.data.preprocessing import Preprocessing
from layerlink.data.text.preprocessing import TextPreprocessing
from layerlink.errors import LayerlinkError
from layerlink.files.paths import expanded
from layerlink.lab.recipe.models import ModelSection, TeacherSection
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import ForeignCodeError, recipe_of_run, trusted_recipe_of_run
from layerlink.lab.run.reading.trained import carried_student, made_for_run, preprocessing_of, sample_of
from layerlink.lab.run.setup.models import make_model
from layerlink.measure.flops import count_flops, count_parameters
from layerlink.user_code import HUB, is_code

Seen = Preprocessing | TextPreprocessing


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
    seen, classes = preprocessing_of(facts, run, recipe), facts.get("classes")
    count = len(classes) if isinstance(classes, list) else 0
    each = tuple(
        _cost(role, section, seen, count, recipe, own=own)
        for role, section in _models(recipe, carried_student(recipe.student, run))
    )
    return Costs(each, _example_of(seen, recipe))


def _models(recipe: Recipe, student: ModelSection) -> Iterator[tuple[str, ModelSection]]:
    yield "student", student
    for name, section in recipe.frozen_teachers.items():
        yield f"teacher {name}".strip(), section


def _cost(role: str, section: ModelSection, seen: Seen, classes: int, recipe: Recipe, *, own: bool) -> Cost:
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
    if isinstance(seen, Preprocessing) and isinstance(section, TeacherSection) and section.image_size is not None:
        seen = replace(seen, image_size=section.image_size)
    length = seen.max_length if isinstance(seen, TextPreprocessing) else 0
    try:
        plain = section.model_copy(update={"arguments": arguments})
        made_for = made_for_run(seen, recipe, classes)
        model = make_model(plain, made_for, recipe.seed, lambda: sample_of(seen, 2, length), role)
        return Cost(role, name, count_parameters(model), count_flops(model, sample_of(seen, 1, length)))
    except (LayerlinkError, RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        why_not = f"it does not run on {_example_of(seen, recipe)}: {' '.join(str(error).split())[:200]}"
        return Cost(role, name, why_not=why_not)


def _example_of(seen: Seen, recipe: Recipe) -> str:
    if isinstance(seen, TextPreprocessing):
        return f"a {'sequence' if recipe.is_causal else 'text'} of {seen.max_length:,} tokens"
    return f"an image of {'x'.join(map(str, sides(seen.image_size)))} pixels"
