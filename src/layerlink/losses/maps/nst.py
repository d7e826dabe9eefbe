"""Neuron selectivity transfer: how a map's channels are spread over its positions."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.shapes import alike, own_digits, require_maps, to_smaller_map, unit


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
    Cost: N (C + D)^2 numbers, or N (H W)^2 where positions are fewer than channels.
    """
    teacher = teacher.detach()
    require_maps("nst", student, teacher)
    if kernel not in ("polynomial", "linear"):
        raise UsageError(f"nst: kernel must be 'polynomial' or 'linear'; got {kernel!r}")
    own, other = (unit(side.flatten(2), 2) for side in to_smaller_map(*alike(student, teacher)))
    if kernel == "linear":
        return (other.mean(1) - own.mean(1)).square().sum(1).mean()
    if own.shape[2] < max(own.shape[1], other.shape[1]):
        return (_spread(other) - _spread(own)).square().sum((1, 2)).mean()
    return _mean(other, other) + _mean(own, own) - 2 * _mean(own, other)


def _spread(channels: Tensor) -> Tensor:
    """``mean x x^T`` over the channels of an image: ``mean (x . y)^2`` over pairs is the product of two of these."""
    with own_digits(channels):
        return channels.transpose(1, 2) @ channels / channels.shape[1]


def _mean(first: Tensor, second: Tensor) -> Tensor:
    with own_digits(first):
        return (first @ second.transpose(1, 2)).square().mean()
