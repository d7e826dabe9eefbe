"""Structured knowledge distillation for segmentation, its pairwise term: which regions of an image look alike."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.shapes import ShapeError, at_least_float32, own_digits, require_maps, unit


def skds(student: Tensor, teacher: Tensor, *, scale: float = 0.5, pool: Literal["max", "average"] = "max") -> Tensor:
    """Mean over examples and pairs of regions of ``(cos_s - cos_t)^2``, the cosine being between regions' features.

    Args:
        student: features (N, C, H, W), any floating dtype.
        teacher: (N, D, H', W'); pooling must leave both as many regions.
        scale: what part of the map's height and width a region has, 0..1: 0.5 makes four regions, 0 one a position.
        pool: "max" or "average" over a region.

    Returns:
        Scalar in 0..4, float32 or wider; 0 for equal similarities. The activations' scale does not matter.

    Raises:
        ShapeError: where they are no maps of the same examples, or of other regions.
        UsageError: for an impossible option.

    Source: Liu et al. 2019 (CVPR 2019, arXiv 1903.04197), section 3, the pairwise term. The pixel-wise one is ``kd``
        at maps; the holistic one, an adversary, is not here.
    Differs: code in use takes the lengths that it divides by as constants, which changes the gradient, not the value.
    Weight: 1, beside 10 of the pixel-wise term.
    When: dense predictions.
    Cost: N P^2 numbers for P regions.
    """
    teacher = teacher.detach()
    require_maps("skds", student, teacher)
    if not 0 <= scale <= 1:
        raise UsageError(f"skds: scale must lie in 0..1; got {scale:g}")
    if pool not in ("max", "average"):
        raise UsageError(f"skds: pool must be 'max' or 'average'; got {pool!r}")
    own, other = (_regions(at_least_float32(side), scale, pool) for side in (student, teacher))
    if own.shape[2:] != other.shape[2:]:
        raise ShapeError(
            f"skds needs as many regions on both sides; student gives {tuple(own.shape[2:])} of "
            f"{tuple(student.shape)}, teacher {tuple(other.shape[2:])} of {tuple(teacher.shape)}"
        )
    return (_similarities(own) - _similarities(other)).square().mean()


def _regions(values: Tensor, scale: float, pool: str) -> Tensor:
    size = (max(1, int(values.shape[2] * scale)), max(1, int(values.shape[3] * scale)))
    if pool == "max":
        return F.max_pool2d(values, size, size, ceil_mode=True)
    return F.avg_pool2d(values, size, size, ceil_mode=True, count_include_pad=False)


def _similarities(regions: Tensor) -> Tensor:
    """(N, P, P)."""
    flat = unit(regions.flatten(2), 1)
    with own_digits(flat):
        return flat.transpose(1, 2) @ flat
