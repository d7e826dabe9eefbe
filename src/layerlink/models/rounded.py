"""Layers that compute, while they train, with values of 8 bits: so that a model loses little as an int8 file.

Weights get the values that such files have, 255 levels around 0 for each output channel; what a layer takes, 256 levels
between the lowest and the highest value of its batch, 0 among them. Gradients pass as if nothing were rounded (Jacob et
al. 2018, arXiv 1712.05877, section 3, who average the ranges over batches; there is no state here). Weights stay in
float32, and in eval mode nothing is rounded.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.models.tiny_maps import TinyMapConv2d

_WEIGHT_LEVELS = 127  # on either side of 0
_VALUE_LEVELS = 255  # above the lowest


def round_in_training(model: nn.Module) -> int:
    """Let every plain convolution and linear layer of ``model`` round weights and inputs while it trains.

    The modules stay the same objects, with their hooks, names and parameters. Left as they are: subclasses, which may
    compute otherwise, and what a model computes from weights by itself, as attention of torch does.

    Returns:
        How many layers they are.
    """
    found = [module for module in model.modules() if type(module) in _ROUNDED]
    for module in found:
        module.__class__ = _ROUNDED[type(module)]
    return len(found)


def round_no_more(model: nn.Module) -> None:
    """Let the layers of ``model`` be those that they were before ``round_in_training``."""
    before = {rounded: plain for plain, rounded in _ROUNDED.items()}
    for module in model.modules():
        module.__class__ = before.get(type(module), type(module))


def rounded_weight(weight: Tensor) -> Tensor:
    """A weight (outputs, ...) on 255 levels a row, symmetric around 0; the gradient passes."""
    largest = weight.detach().flatten(1).abs().amax(1).clamp(min=torch.finfo(weight.dtype).tiny * 256)
    step = (largest / _WEIGHT_LEVELS).reshape(-1, *(1 for _ in weight.shape[1:]))
    return _Passing.apply(weight, step, None)  # type: ignore[no-any-return, no-untyped-call]


def rounded_values(values: Tensor) -> Tensor:
    """Values of any shape on 256 levels between their lowest and highest, 0 among them; the gradient passes."""
    if not values.is_floating_point() or values.numel() == 0:
        return values
    low, high = values.detach().float().aminmax()
    low, high = low.clamp(max=0), high.clamp(min=0)
    step = ((high - low) / _VALUE_LEVELS).clamp(min=torch.finfo(torch.float32).tiny * 256)
    return _Passing.apply(values, step, (low / step).round())  # type: ignore[no-any-return, no-untyped-call]


class _Passing(torch.autograd.Function):
    """Values on multiples of ``step``; from ``lowest`` of them on 256 levels, where it is given."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, step: Tensor, lowest: Tensor | None) -> Tensor:
        del ctx
        levels = (values.float() / step).round()
        if lowest is not None:
            levels = levels.clamp(lowest, lowest + _VALUE_LEVELS)
        return (levels * step).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        del ctx
        return gradient, None, None


class _Rounded(nn.Module):
    """Before a layer's own class: its products from rounded values, in training mode."""

    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """As the layer; in training mode of rounded weights and inputs."""
        if not self.training:
            found: Tensor = super().forward(x)
            return found
        return self._product(rounded_values(x), rounded_weight(self.weight))

    def _product(self, x: Tensor, weight: Tensor) -> Tensor:
        return self._conv_forward(x, weight, self.bias)  # type: ignore[operator, no-any-return]

    def _get_name(self) -> str:
        return type(self).__name__.removeprefix("Rounded")


class RoundedConv1d(_Rounded, nn.Conv1d):
    """A ``Conv1d`` that rounds in training."""


class RoundedConv2d(_Rounded, nn.Conv2d):
    """A ``Conv2d`` that rounds in training."""


class RoundedTinyMapConv2d(_Rounded, TinyMapConv2d):
    """A ``TinyMapConv2d`` that rounds in training, where it is a convolution over maps of any size."""

    def _get_name(self) -> str:
        return "Conv2d"


class RoundedLinear(_Rounded, nn.Linear):  # type: ignore[misc]
    """A ``Linear`` that rounds in training."""

    def _product(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight, self.bias)


_ROUNDED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: RoundedConv1d,
    nn.Conv2d: RoundedConv2d,
    TinyMapConv2d: RoundedTinyMapConv2d,
    nn.Linear: RoundedLinear,
}
