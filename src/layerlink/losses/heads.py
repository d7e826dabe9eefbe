"""The classifiers that a loss may ask for: their weights, and what a frozen one makes of features."""

from __future__ import annotations

from itertools import chain

from torch import Tensor, nn
from torch.func import functional_call

from layerlink.errors import UsageError
from layerlink.losses.shapes import ShapeError, own_digits


def weight_of(loss: str, head: nn.Module) -> Tensor:
    """The weight (C, D) of a classifier that is one linear layer, see ``linear_of``."""
    return linear_of(loss, head)[0]


def linear_of(loss: str, head: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight (C, D) and bias (C,) of a classifier that is one linear layer, or a 1x1 convolution, whatever stands
    around it.

    Raises:
        UsageError: where there is none, or more than one.
    """
    layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    if len(layers) != 1 or any(size != 1 for size in layers[0].weight.shape[2:]):
        raise UsageError(
            f"{loss} needs a classifier that is one nn.Linear, or one 1x1 nn.Conv2d; got {type(head).__name__} with "
            f"{len(layers)} such layers"
        )
    return layers[0].weight.flatten(1), layers[0].bias


def frozen_logits(loss: str, head: nn.Module, features: Tensor) -> Tensor:
    """What a classifier makes of features (N, D): gradients reach these and none of its parameters.

    Its weights are taken in the features' dtype.

    Raises:
        ShapeError: where the features are not as wide as it takes them.
    """
    if isinstance(head, nn.Linear) and head.in_features != features.shape[1]:
        raise ShapeError(
            f"{loss} needs the features that the classifier takes, (N, {head.in_features}); got {tuple(features.shape)}"
        )
    frozen = {
        name: value.detach().to(features.dtype) if value.is_floating_point() else value.detach()
        for name, value in chain(head.named_parameters(), head.named_buffers())
    }
    with own_digits(features):
        logits: Tensor = functional_call(head, frozen, (features,))
    return logits
