"""Hierarchical context loss: mean squared errors of a map and of its poolings."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from layerlink.losses.shapes import alike, require_equal_shapes, require_maps

SIZES = (4, 2, 1)


def hcl(student: Tensor, teacher: Tensor) -> Tensor:
    """``(mse + sum_i 2^-i mse_i) / (1 + sum_i 2^-i)``: mse_i between both maps pooled to 4, 2 and 1 positions a side.

    Only sizes below the map's height are taken.

    Args:
        student: (N, C, H, W), any floating dtype.
        teacher: the same shape.

    Returns:
        Scalar, float32 or wider, in squared units of the activations, >= 0; 0 for equal maps.

    Raises:
        ShapeError: where the shapes differ or are no maps.

    Source: Chen et al. 2021 (ReviewKD, arXiv 2104.09044), section 3.4.
    Weight: 5, as ``review``, whose distance it is.
    When: equal maps that should agree by regions before they agree by positions.
    Cost: one pass over both maps.
    """
    teacher = teacher.detach()
    require_equal_shapes("hcl", student, teacher)
    require_maps("hcl", student, teacher)
    own, other = alike(student, teacher)
    total, weights, weight = F.mse_loss(own, other), 1.0, 1.0
    for size in SIZES:
        if size >= own.shape[2]:
            continue
        weight /= 2
        first, second = (F.adaptive_avg_pool2d(side, (size, size)) for side in (own, other))
        total = total + weight * F.mse_loss(first, second)
        weights += weight
    return total / weights
