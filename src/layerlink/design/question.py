"""What a verb is asked about, a recipe or models, as a recipe with one frozen teacher; and real images for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from layerlink.data.examples import Inputs
from layerlink.errors import UsageError
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run.setup.setup import Setup
from layerlink.measure.cka import LEAST

# Of two models alone; what is trained by it is to be changed by whoever trains it.
_MODELS = """\
data: {{name: {data}}}
teacher: {{model: {teacher}, weights: null}}
student: {{model: {student}}}
soft: {{temperature: 4}}
training: {{epochs: 10, lr: 0.05, nesterov: true, weight_decay: 0.0005, schedule: one-cycle, clip_norm: 5}}
"""


def recipe_of_models(teacher: str, student: str, overrides: Sequence[str], name: str) -> LoadedRecipe:
    """A recipe for two models by name.

    Args:
        teacher: its name, as recipes have it.
        student: the same.
        overrides: ``key=value`` texts. ``data.name`` is cifar10 where there is a ``data.root``, else digits.
        name: of the recipe.

    Raises:
        ProblemsError: everything that is wrong with it.
    """
    data = "cifar10" if any(text.startswith("data.root=") for text in overrides) else "digits"
    text = _MODELS.format(data=data, teacher=json.dumps(teacher), student=json.dumps(student))
    shown = " ".join(dict.fromkeys((teacher, student)))
    return replace(load_recipe(shown, overrides, text=text), name=name)


def check_one_teacher(loaded: LoadedRecipe, what: str) -> None:
    """Raise ``UsageError`` where a recipe has no single frozen teacher, which ``what`` says that it is needed for."""
    recipe = loaded.recipe
    if recipe.teacher is not None and recipe.frozen_teachers:
        return
    has = "several teachers" if recipe.teachers else "peers" if recipe.peers is not None else "no teacher"
    if recipe.teacher is not None:
        has = "the student's own average as its teacher"
    raise UsageError(f"{loaded.source} has {has}; {what}: teacher={{model: resnet56, weights: FILE}}")


def training_batches(setup: Setup, count: int) -> Iterator[Inputs]:
    """Random training examples: those of a source may lie class by class."""
    images = setup.images
    size = max(setup.recipe.training.batch_size, LEAST)
    order = torch.randperm(len(images.train), generator=torch.Generator().manual_seed(setup.recipe.seed))[
        : count * size
    ]
    for places in torch.split(order.to(images.device), size):
        if len(places) >= LEAST or len(order) < LEAST:
            yield images.seen(images.train, places)
