"""Neuron selectivity transfer: how a map's channels are spread over its positions."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.shapes import at_least_float32, own_digits, require_maps, to_smaller_map, unit


def nst(student: Tensor, teacher: Tensor, *, kernel: Literal["polynomial", "linear"] = "polynomial") -> Tensor:
    """``mean k(t, t') + mean k(s, s') - 2 mean k(s, t)`` over pairs of channels: a squared maximum mean discrepancy.

    Every channel of an image is the vector of its positions, L2-normalised; ``k(x, y) = (x . y)^2``, or ``x . y`` where
    linear. The larger map is average-pooled to the smaller one before. Channels may differ.

    Args:
        student: (N, C, H, W), any floating dtype.
        teacher: (N, D, H', W').
        kernel: "polynomial" or "linear".

    Returns:
        Scalar, float32 or wider, >= 0 up to rounding; 0 for equal channels, in whatever order they stand. The
        activations' scale does not matter.

    Raises:
        ShapeError: where they are no maps of the same examples.
        UsageError: for another kernel.

    Source: Huang & Wang 2017 (arXiv 1707.01219), section 4, with d = 2 and c = 0.
    Differs: the paper's Gaussian kernel is not here.
    Weight: 50 a link.
    When: channels of both sides do not stand for the same, or differ in number, and an adapter is not wanted.
    Cost: N (C + D)^2 numbers.
    """
    teacher = teacher.detach()
    require_maps("nst", student, teacher)
    if kernel not in ("polynomial", "linear"):
        raise UsageError(f"nst: kernel must be 'polynomial' or 'linear'; got {kernel!r}")
    own, other = (
        unit(side.flatten(2), 2) for side in to_smaller_map(at_least_float32(student), at_least_float32(teacher))
    )
    squared = kernel == "polynomial"
    return _mean(other, other, squared) + _mean(own, own, squared) - 2 * _mean(own, other, squared)


def _mean(first: Tensor, second: Tensor, squared: bool) -> Tensor:
    with own_digits(first):
        products = first @ second.transpose(1, 2)
    return (products.square() if squared else products).mean()
