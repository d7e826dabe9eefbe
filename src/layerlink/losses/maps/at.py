"""Attention transfer: where the energy of a map lies."""

from __future__ import annotations

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.shapes import at_least_float32, require_maps, to_smaller_map, unit


def at(student: Tensor, teacher: Tensor, *, p: float = 2.0) -> Tensor:
    """Mean over examples and positions of ``(a_s - a_t)^2``: a is the L2-normalised mean over channels of ``|f|^p``.

    The larger map is average-pooled to the smaller one before that. Channels may differ.

    Args:
        student: (N, C, H, W), any floating dtype.
        teacher: (N, D, H', W').
        p: exponent, >= 1.

    Returns:
        Scalar, float32 or wider, >= 0; 0 for equal maps of attention. The activations' scale does not matter.

    Raises:
        ShapeError: where they are no maps of the same examples.
        UsageError: for an impossible exponent.

    Source: Zagoruyko & Komodakis 2017 (arXiv 1612.03928), section 3.1, eq. 2.
    Differs: the mean of squares that code in use takes, in place of the sum over positions of the difference's norm.
    Weight: 1000 a link.
    When: convolutional networks, whose layers need not be equally wide.
    Cost: one pass over both maps.

    >>> import torch
    >>> f = torch.rand(2, 3, 4, 4)
    >>> float(at(f, 3 * f)) < 1e-12
    True
    """
    teacher = teacher.detach()
    require_maps("at", student, teacher)
    if not p >= 1:  # the slope of |f|^p at 0, where a ReLU leaves many, is infinite below
        raise UsageError(f"at: p must be >= 1; got {p:g}")
    own, other = to_smaller_map(at_least_float32(student), at_least_float32(teacher))
    return (attention(own, p) - attention(other, p)).square().mean()


def attention(values: Tensor, p: float) -> Tensor:
    """Of maps (N, C, H, W) the mean over channels of ``|f|^p``, flattened and L2-normalised: (N, H * W)."""
    energy = values.square() if p == 2 else values.abs() ** p
    return unit(energy.mean(1).flatten(1), 1)
