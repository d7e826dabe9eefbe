"""A layer that stands for several, fitted by least squares to what the last of them gives on real examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.design.shrink.passes import run_pass
from layerlink.design.shrink.reducing import Collapsed

MOST_INPUTS = 8192  # of a layer: the sums of more would take gigabytes
RIDGE = 1e-6  # of the mean square of the inputs: decides where they do not


class NormalEquations:
    """Sums that a linear fit needs, over any number of batches.

    Args:
        inputs: numbers that one output is computed from, the constant not among them.
        outputs: of the layer.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self.square = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64)
        self.product = torch.zeros(inputs + 1, outputs, dtype=torch.float64)

    def add(self, given: Tensor, wanted: Tensor) -> None:
        """Add rows: (R, inputs) and what is wanted for them, (R, outputs)."""
        rows = torch.cat((given.double(), torch.ones(len(given), 1, dtype=torch.float64)), dim=1).cpu()
        self.square += rows.T @ rows
        self.product += rows.T @ wanted.double().cpu()

    def solved(self, ridge: float, constant: bool) -> Tensor:
        """Weights (inputs + 1, outputs), the last row the constant (0 where there is none), float64.

        The least squares; of many that are equal the smallest, by a ridge of ``ridge`` times the inputs' mean square.
        """
        count = len(self.square) if constant else len(self.square) - 1
        square, product = self.square[:count, :count].clone(), self.product[:count]
        weighed = torch.ones(count, dtype=torch.float64)
        weighed[len(self.square) - 1 :] = 0.0  # the constant is free
        square.diagonal().add_(ridge * float(square.diagonal().mean()) * weighed)
        found = torch.linalg.solve(square, product)
        return found if constant else torch.cat((found, found.new_zeros(1, found.shape[1])))


def rows_of(layer: nn.Module, given: Tensor) -> Tensor:
    """The inputs of each output position of a layer, (R, inputs): of a convolution its patches."""
    if isinstance(layer, nn.Conv2d):
        padding: Any = layer.padding
        patches = F.unfold(given, layer.kernel_size, layer.dilation, padding, layer.stride)
        return patches.transpose(1, 2).flatten(0, 1)
    return given.flatten(0, -2)


def outputs_of(layer: nn.Module, wanted: Tensor) -> Tensor:
    """What a layer gives, one row a position, (R, outputs)."""
    return wanted.flatten(2).transpose(1, 2).flatten(0, 1) if isinstance(layer, nn.Conv2d) else wanted.flatten(0, -2)


def fit_collapsed(teacher: nn.Module, collapsed: Sequence[Collapsed], batches: Sequence[Any]) -> dict[str, float]:
    """Fit each new layer: from what the first of its layers gets to what the last gives, before norm and activation.

    Args:
        teacher: that they were taken from, in the same place and dtype.
        collapsed: the new layers; their weights are set.
        batches: real examples, as the teacher takes them.

    Returns:
        By the place of each new layer, the share of the outputs' variance that it explains on the examples, <= 1; of
        layers with more than 8192 inputs nothing: they begin as the first or last of their layers.
    """
    collapsed = [it for it in collapsed if _weight(it)[0].numel() <= MOST_INPUTS]
    sums = {it.last: NormalEquations(_weight(it)[0].numel(), len(_weight(it))) for it in collapsed}
    spread = dict.fromkeys(sums, 0.0)
    means: dict[str, Tensor] = {}
    for batch in batches:
        seen = run_pass(teacher, batch)
        for it in collapsed:
            first, last = seen.once(it.first), seen.once(it.last)
            if first is None or last is None or first.given is None or last.gave is None:
                continue
            wanted = outputs_of(it.module, last.gave)
            sums[it.last].add(rows_of(it.module, first.given), wanted)
            spread[it.last] += float(wanted.double().square().sum())
            means[it.last] = means.get(it.last, torch.zeros(1)) + wanted.double().sum(0).cpu()
    explained = {}
    for it in collapsed:
        found = sums[it.last].solved(RIDGE, getattr(it.module, "bias", None) is not None)
        _set(it.module, found)
        explained[it.last] = _explained(sums[it.last], found, spread[it.last], means[it.last])
    return explained


def _weight(of: Collapsed) -> Tensor:
    weight = of.module.weight
    assert isinstance(weight, Tensor)  # noqa: S101 - of a layer with one kernel
    return weight


def _set(layer: nn.Module, found: Tensor) -> None:
    with torch.no_grad():
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor)  # noqa: S101 - of a layer with one kernel
        weight.copy_(found[:-1].T.reshape(weight.shape))
        if isinstance(bias, Tensor):
            bias.copy_(found[-1])


def _explained(sums: NormalEquations, found: Tensor, square: float, total: Tensor) -> float:
    count = float(sums.square[-1, -1])
    error = square - 2 * float((found * sums.product).sum()) + float((found * (sums.square @ found)).sum())
    variance = square - float(total.square().sum()) / count
    return 1 - error / variance if variance > 0 else 1.0
