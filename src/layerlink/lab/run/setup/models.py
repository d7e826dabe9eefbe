"""The models that a recipe names, with their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from layerlink.config.changes import Place
from layerlink.config.image_size import ImageSize
from layerlink.data import SequenceSet, TextSet
from layerlink.data.examples import Inputs
from layerlink.errors import Problem, UsageError
from layerlink.files.weights import load_weights
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.models import ModelSection
from layerlink.lab.run.setup.images import Images
from layerlink.models import MODELS, build_model
from layerlink.taps.lazy import fill_lazy_layers, has_lazy_layers
from layerlink.taps.randomness import seeded
from layerlink.user_code import HUB


class MadeFor(NamedTuple):
    """What data the project's own models are made for."""

    num_classes: int
    image_size: ImageSize
    channels: int
    head: str = "image-classification"

    @property
    def arguments(self) -> dict[str, Any]:
        """Of the project's own models."""
        return {"num_classes": self.num_classes, "image_size": self.image_size, "channels": self.channels}


def made_for_images(images: Images, size: int | None = None) -> MadeFor:
    """What models of a data set are made for.

    Args:
        images: the data set; the project's own models are of images, and of texts they are told by running on them.
        size: pixels that the model sees, where they are not the data's.
    """
    classes = len(images.train.classes)
    if isinstance(images.train, SequenceSet):
        return MadeFor(classes, size or 32, 3, head="causal-lm")
    if isinstance(images.train, TextSet):
        return MadeFor(classes, size or 32, 3, head="sequence-classification")
    train, views = images.pixels
    return MadeFor(classes, size or views.image_size, train.images.shape[1])


def make_model(
    section: ModelSection, made_for: MadeFor, seed: int, sample: Callable[[], Inputs], role: str
) -> nn.Module:
    """A model of a recipe with its initial weights, on the CPU.

    Args:
        section: what the recipe says of it.
        made_for: arguments of the project's own models that the recipe does not give.
        seed: of the initial weights.
        sample: two images as it sees them, for layers that learn their size from them.
        role: of the model, for messages.

    Raises:
        UsageError: where it cannot be made.
    """
    arguments = dict(section.arguments)
    if section.model in MODELS:
        arguments = {**made_for.arguments, **arguments}
    elif section.model.startswith(HUB):
        of_classes = {} if made_for.head == "causal-lm" else {"num_labels": made_for.num_classes}
        arguments = {**of_classes, "head": made_for.head, **arguments}
    with seeded(seed):
        model = build_model(section.model, **arguments)
        if has_lazy_layers(model):
            fill_lazy_layers(model, tree_map_only(Tensor, _by_rows, sample()), role)
    return model


def build_role(
    loaded: LoadedRecipe,
    place: Place,
    section: ModelSection,
    images: Images,
    problems: list[Problem],
    notes: list[str],
) -> nn.Module | None:
    """A model of the recipe, on the CPU; None, and a problem, where it cannot be made.

    Args:
        loaded: the recipe.
        place: of the model in it: ``("student",)``, ``("teacher",)`` or ``("teachers", name)``.
        section: what stands there.
        images: that decide what the project's own models are made for.
        problems: to be added to.
        notes: to be added to: what was taken off the names in a file of weights.
    """
    role = str(place[0]).removesuffix("s")
    made_for = made_for_images(images, getattr(section, "image_size", None))

    def sample() -> Inputs:  # made where a layer asks for it
        found: Inputs = tree_map_only(Tensor, Tensor.cpu, images.sample)
        return found

    try:
        model = make_model(section, made_for, loaded.recipe.seed, sample, role)
    except UsageError as error:
        problems.append(loaded.problem(place, str(error)))
        return None
    try:
        if section.loaded_from is not None and (told := load_weights(model, section.loaded_from)):
            notes.append(f"weights {told}")
    except UsageError as error:  # its layers are there all the same, for links to be checked against
        problems.append(loaded.problem(place, str(error)))
    if role == "teacher" and section.weights is None:
        what = "a teacher needs weights: a run folder, a file of weights, or own where its callable has loaded them"
        problems.append(loaded.problem(place, what))
    return model


def _by_rows(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)
