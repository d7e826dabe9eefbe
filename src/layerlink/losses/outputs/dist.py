"""DIST: relations of classes and of examples, by correlation in place of equality."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.shapes import ShapeError, require_classes, require_equal_shapes

EPSILON = 1e-8


def dist(
    student: Tensor,
    teacher: Tensor,
    *,
    inter: float = 1.0,
    intra: float = 1.0,
    temperature: float = 4.0,
    t_squared: bool = True,
    standardise: bool = False,
) -> Tensor:
    """``T^2 * (inter * (1 - mean corr of rows) + intra * (1 - mean corr of columns))`` of ``softmax(z / T)``.

    Pearson's correlation of both sides: of an example's classes (inter), and of a class over the batch (intra).

    Args:
        student: logits (N, C), C >= 2, any floating dtype.
        teacher: the same shape.
        inter: weight, >= 0.
        intra: weight, >= 0; over a batch of one example its correlation is 0.
        temperature: T > 0.
        t_squared: multiply by T^2.
        standardise: compare standardised logits, see ``standardise``.

    Returns:
        Scalar, float32 or wider, in 0..2 times T^2 and the weights; 0 for equal outputs that vary.

    Raises:
        ShapeError: where the shapes differ or are no logits.
        UsageError: for an impossible option.

    Source: Huang et al. 2022 (arXiv 2205.10536), eq. 9 to 11.
    Weight: 2 beside 1 of the labels (inter and intra 1 each, T 4 on CIFAR, 1 on ImageNet).
    When: the teacher is much stronger than the student, or trained otherwise.
    Cost: that of two softmaxes.
    Differs: the product of norms is at least 1e-8, where code in use adds that; so equal outputs give exactly 0.
    """
    teacher = teacher.detach()
    require_equal_shapes("dist", student, teacher)
    if student.ndim != 2:
        raise ShapeError(f"dist needs logits (N, C); got {tuple(student.shape)}")
    require_classes("dist", student)
    if not (temperature > 0 and inter >= 0 and intra >= 0):
        raise UsageError(
            f"dist: temperature must be > 0, inter and intra >= 0; got {temperature:g}, {inter:g}, {intra:g}"
        )
    own, other = ((comparable(side, standardise) / temperature).softmax(1) for side in (student, teacher))
    loss = inter * (1 - _correlation(own, other, 1).mean()) + intra * (1 - _correlation(own, other, 0).mean())
    return loss * temperature**2 if t_squared else loss


def _correlation(own: Tensor, other: Tensor, axis: int) -> Tensor:
    own, other = (side - side.mean(axis, keepdim=True) for side in (own, other))
    norms = torch.linalg.vector_norm(own, dim=axis) * torch.linalg.vector_norm(other, dim=axis)
    found: Tensor = (own * other).sum(axis) / norms.clamp_min(EPSILON)
    return found
