"""What is asked on the command line, a recipe or two models, as models and real images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from layerlink.design.propose.proposing import Looked, look
from layerlink.errors import UsageError
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run.setup.setup import Setup
from layerlink.measure.cka import LEAST
from layerlink.models import MODELS
from layerlink.teachers import FrozenTeacher

BATCHES = 4

# Of two models alone; what is trained by it is to be changed by whoever trains it.
_MODELS = """\
data: {{name: {data}}}
teacher: {{model: {teacher}, weights: null}}
student: {{model: {student}}}
soft: {{temperature: 4}}
training: {{epochs: 10, lr: 0.05, nesterov: true, weight_decay: 0.0005, schedule: one-cycle, clip_norm: 5}}
"""


def load_question(names: Sequence[str], overrides: Sequence[str]) -> LoadedRecipe:
    """The recipe that is asked about, its links left out.

    Args:
        names: a recipe's file or shipped name, or a teacher and a student: models' names or package.module:callable.
        overrides: ``key=value`` texts. Of two models ``data.name`` is cifar10 where there is a ``data.root``, else
            digits.

    Raises:
        UsageError: where the names are none of these, or the recipe has no single frozen teacher.
        ProblemsError: everything that is wrong with the recipe.
    """
    if len(names) == 1 and (names[0] in MODELS or ":" in names[0]):
        raise UsageError(f"{names[0]} is a model; name its student, too: layerlink propose {names[0]} STUDENT")
    if len(names) not in (1, 2):
        raise UsageError(
            f"expected a recipe, or a teacher and a student, then key=value; got {' '.join(names) or 'nothing'}. "
            "Such as: layerlink propose resnet56 resnet20 data.root=~/cifar10 teacher.weights=resnet56.safetensors"
        )
    if len(names) == 1:
        loaded = load_recipe(names[0], overrides)
    else:
        own_data = any(text.startswith("data.root=") for text in overrides)
        teacher, student = map(json.dumps, names)
        text = _MODELS.format(data="cifar10" if own_data else "digits", teacher=teacher, student=student)
        loaded = load_recipe(f"{names[0]} {names[1]}", overrides, text=text)
        loaded = replace(loaded, name="propose")
    _check_teacher(loaded)
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"links": ()}))


def _check_teacher(loaded: LoadedRecipe) -> None:
    recipe = loaded.recipe
    if recipe.teacher is not None and recipe.frozen_teachers:
        return
    has = "several teachers" if recipe.teachers else "peers" if recipe.peers is not None else "no teacher"
    if recipe.teacher is not None:
        has = "the student's own average as its teacher"
    raise UsageError(
        f"{loaded.source} has {has}; links are proposed between one frozen teacher and its student: "
        "teacher={model: resnet56, weights: FILE}"
    )


def look_at(setup: Setup, batches: int = BATCHES) -> Looked:
    """Both models on training images, as they see them when they are not augmented.

    Args:
        setup: of the recipe.
        batches: how many, of the recipe's batch size.

    Raises:
        UsageError: where there are too few images, or the models cannot be compared.
    """
    taught_by = setup.taught_by
    assert isinstance(taught_by, FrozenTeacher)  # noqa: S101 - load_question lets no other through
    return look(taught_by.observed, setup.student, _batches(setup, batches), batches)


def _batches(setup: Setup, count: int) -> Iterator[Tensor]:
    """Random training images: those of a source may lie class by class."""
    images = setup.images.train.images
    size = max(setup.recipe.training.batch_size, LEAST)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(setup.recipe.seed))[: count * size]
    for places in torch.split(order.to(images.device), size):
        if len(places) >= LEAST or len(order) < LEAST:
            yield setup.images.views(images[places])
