"""The models that a recipe names, with their weights."""

from __future__ import annotations

import torch
from torch import nn

from layerlink.errors import Problem, UsageError
from layerlink.files.weights import load_weights
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.schema import ModelSection
from layerlink.lab.run.setup.images import Images
from layerlink.models import MODELS, build_model
from layerlink.taps.lazy import fill_lazy_layers, has_lazy_layers
from layerlink.taps.randomness import seeded


def build_role(
    loaded: LoadedRecipe, role: str, section: ModelSection, images: Images, problems: list[Problem]
) -> nn.Module | None:
    """The recipe's teacher or student (``role``), on the CPU; None, and a problem, where it cannot be made."""
    arguments = dict(section.arguments)
    if section.model in MODELS:
        arguments = {
            "num_classes": len(images.train.classes),
            "image_size": images.views.image_size,
            "channels": images.train.images.shape[1],
            **arguments,
        }
    try:
        with seeded(loaded.recipe.seed):
            model = build_model(section.model, **arguments)
            if has_lazy_layers(model):
                sample = images.views(images.train.images[:2]).cpu().clone(memory_format=torch.contiguous_format)
                fill_lazy_layers(model, sample, role)
        if section.weights is not None:
            load_weights(model, section.weights)
    except UsageError as error:
        problems.append(loaded.problem((role,), str(error)))
        return None
    if role == "teacher" and section.weights is None:
        what = "a teacher needs weights: a run folder or a .safetensors file"
        problems.append(loaded.problem((role,), what))
    return model
