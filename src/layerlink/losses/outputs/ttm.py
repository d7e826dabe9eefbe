"""Transformed teacher matching: temperature on the teacher's side alone."""

from __future__ import annotations

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.masking import channel_axis, cleared, mean_of
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.shapes import ShapeError, require_classes, require_equal_shapes


def ttm(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    exponent: float = 0.1,
    standardise: bool = False,
) -> Tensor:
    """``KL(q, softmax(z_s))`` with ``q = p_t^g / sum p_t^g``, mean over the positions.

    Args:
        student: logits (N, C), (N, L, C) or (N, C, H, W), C >= 2, any floating dtype. They are not softened.
        teacher: the same shape.
        mask: bool (N,), (N, L) or (N, H, W), the positions that count.
        exponent: g, 0 < g <= 1: the inverse of the teacher's temperature.
        standardise: compare standardised logits, see ``standardise``.

    Returns:
        Scalar in nats, float32 or wider, >= 0 up to rounding; 0 where the student's logits are g times the teacher's.

    Raises:
        ShapeError: where the shapes differ or are no logits.
        UsageError: for an impossible exponent.

    Source: Zheng & Yang 2024 (arXiv 2402.11148), eq. 11.
    Weight: 45 beside 1 of the labels (vgg13 -> vgg8, g 0.1); chosen per pair.
    When: kd leaves the student too sure of itself; it adds a Renyi entropy to kd.
    Cost: that of two softmaxes.
    Differs: the code in use gives the cross-entropy, which has the same gradient and is not 0 there.
    """
    teacher = teacher.detach()
    rows, _ = _matched("ttm", student, teacher, mask, exponent, standardise)
    return mean_of(rows if mask is None else rows * mask, mask)


def wttm(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    exponent: float = 0.1,
    standardise: bool = False,
) -> Tensor:
    """``ttm`` with every position weighed by ``sum_c p_t^g``, the teacher's power sum: the less sure it is, the more.

    Args:
        student: logits (N, C), (N, L, C) or (N, C, H, W), C >= 2, any floating dtype.
        teacher: the same shape.
        mask: bool (N,), (N, L) or (N, H, W), the positions that count.
        exponent: g, 0 < g <= 1. The weight grows up to C^(1 - g).
        standardise: compare standardised logits, see ``standardise``.

    Returns:
        Scalar in nats, float32 or wider, >= 0 up to rounding; 0 where the student's logits are g times the teacher's.

    Raises:
        ShapeError: where the shapes differ or are no logits.
        UsageError: for an impossible exponent.

    Source: Zheng & Yang 2024 (arXiv 2402.11148), eq. 17.
    Weight: 4 beside 1 of the labels (with crd; g 0.1 to 0.3), chosen per pair.
    When: as ttm, where the teacher is unsure of some examples.
    Cost: that of two softmaxes.
    """
    teacher = teacher.detach()
    rows, weights = _matched("wttm", student, teacher, mask, exponent, standardise)
    rows = rows * weights
    return mean_of(rows if mask is None else rows * mask, mask)


def _matched(
    loss: str, student: Tensor, teacher: Tensor, mask: Tensor | None, exponent: float, standardise: bool
) -> tuple[Tensor, Tensor]:
    """The divergence of every position, and the teacher's power sum there."""
    require_equal_shapes(loss, student, teacher)
    if student.ndim not in (2, 3, 4):
        raise ShapeError(f"{loss} needs logits (N, C), (N, L, C) or (N, C, H, W); got {tuple(student.shape)}")
    require_classes(loss, student)
    if not 0 < exponent <= 1:
        raise UsageError(f"{loss}: exponent must lie in 0 < g <= 1; got {exponent:g}")
    axis = channel_axis(student)
    own, other = (
        comparable(cleared(loss, side, mask), standardise, axis=axis).log_softmax(axis) for side in (student, teacher)
    )
    powers = exponent * other
    total = powers.logsumexp(axis, keepdim=True)
    wanted = powers - total
    return (wanted.exp() * (wanted - own)).sum(axis), total.squeeze(axis).exp()
