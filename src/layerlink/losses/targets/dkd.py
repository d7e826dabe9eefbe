"""Decoupled knowledge distillation: the target class against the rest, and the rest among themselves."""

from __future__ import annotations

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.targets.classes import divergence, others, require_labelled, target_and_rest


def dkd(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    standardise: bool = False,
) -> Tensor:
    """``T^2 * (alpha * TCKD + beta * NCKD)``, mean over the batch.

    TCKD is the KL divergence between both models' (p of the label, p of all others), NCKD that between their softmax
    over the other classes alone; p at temperature T.

    Args:
        student: logits (N, C), C >= 2, any floating dtype.
        teacher: the same shape.
        labels: (N,) int64 in 0..C-1.
        alpha: weight of TCKD, >= 0.
        beta: weight of NCKD, >= 0.
        temperature: T > 0.
        standardise: compare standardised logits, see ``standardise``.

    Returns:
        Scalar in nats times T^2, float32 or wider; 0 for equal outputs.

    Raises:
        ShapeError: where logits or labels do not fit.
        UsageError: for an impossible option.

    Source: Zhao et al. 2022 (arXiv 2203.08679), eq. 7. Weight: 1 beside 1 of the labels, alpha 1, beta 8 (resnet32x4 ->
    resnet8x4) or 6 (vgg13 -> vgg8), T 4, rising over 20 epochs (``warmup=20``).
    When: the student has the capacity to follow how the teacher ranks the classes that are wrong.
    Cost: that of three softmaxes.
    Differs: the other classes are left out exactly, not by 1000 subtracted from the label's logit.
    """
    teacher = teacher.detach()
    target = require_labelled("dkd", student, teacher, labels)
    if not (temperature > 0 and alpha >= 0 and beta >= 0):
        raise UsageError(f"dkd: temperature must be > 0, alpha and beta >= 0; got {temperature:g}, {alpha:g}, {beta:g}")
    own, other = (comparable(side, standardise) / temperature for side in (student, teacher))
    return dkd_rows(own, other, target, alpha, beta).mean() * temperature**2


def dkd_rows(own: Tensor, other: Tensor, target: Tensor, alpha: float, beta: float) -> Tensor:
    """Of softened logits (N, C) every example's loss, without T^2: (N,). ``target`` is of ``require_labelled``."""
    binary = divergence(target_and_rest(own, target), target_and_rest(other, target))
    rest = divergence(others(own, target), others(other, target), left_out=target)
    return alpha * binary + beta * rest
