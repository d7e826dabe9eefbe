"""The models that a recipe names, with their weights."""

from __future__ import annotations

import torch
from torch import nn

from layerlink.config.changes import Place
from layerlink.errors import Problem, UsageError
from layerlink.files.weights import load_weights
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.models import ModelSection
from layerlink.lab.run.setup.images import Images
from layerlink.models import MODELS, build_model
from layerlink.taps.lazy import fill_lazy_layers, has_lazy_layers
from layerlink.taps.randomness import seeded


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
    arguments = dict(section.arguments)
    if section.model in MODELS:
        arguments = {
            "num_classes": len(images.train.classes),
            "image_size": getattr(section, "image_size", None) or images.views.image_size,
            "channels": images.train.images.shape[1],
            **arguments,
        }
    try:
        with seeded(loaded.recipe.seed):
            model = build_model(section.model, **arguments)
            if has_lazy_layers(model):
                sample = images.sample.cpu().clone(memory_format=torch.contiguous_format)
                fill_lazy_layers(model, sample, role)
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
