"""Decoupled knowledge distillation: the target class against the rest, and the rest among themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.shapes import ShapeError, at_least_float32, require_equal_shapes


def dkd(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
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

    Returns:
        Scalar in nats times T^2, float32 or wider; 0 for equal outputs.

    Raises:
        ShapeError: where logits or labels do not fit.
        UsageError: for an impossible option.

    Source: Zhao et al. 2022 (arXiv 2203.08679), eq. 7. Weight: 1 beside 1 of the labels, alpha 1, beta 8 (resnet32x4 ->
    resnet8x4) or 6 (vgg13 -> vgg8), T 4, rising over 20 epochs (``warmup=20``).
    Differs: the other classes are left out exactly, not by 1000 subtracted from the label's logit.
    """
    require_equal_shapes("dkd", student, teacher)
    if student.ndim != 2 or student.shape[1] < 2 or labels.shape != student.shape[:1] or labels.dtype != torch.int64:
        raise ShapeError(
            "dkd needs logits (N, C) of at least two classes and int64 labels (N,); got logits "
            f"{tuple(student.shape)}, labels {labels.dtype} {tuple(labels.shape)}"
        )
    if not (temperature > 0 and alpha >= 0 and beta >= 0):
        raise UsageError(f"dkd: temperature must be > 0, alpha and beta >= 0; got {temperature:g}, {alpha:g}, {beta:g}")
    target = torch.zeros_like(student, dtype=torch.bool).scatter_(1, labels[:, None], True)
    own, other = (at_least_float32(side) / temperature for side in (student, teacher))
    binary = _divergence(_target_or_rest(own, target), _target_or_rest(other, target))
    rest = _divergence(_others(own, target), _others(other, target), left_out=target)
    return (alpha * binary + beta * rest).mean() * temperature**2


def _target_or_rest(logits: Tensor, target: Tensor) -> Tensor:
    """Logarithms of p of the label and of all others: (N, 2)."""
    log_p = logits.log_softmax(1)
    return torch.stack(
        [log_p.masked_fill(~target, -torch.inf).amax(1), log_p.masked_fill(target, -torch.inf).logsumexp(1)], dim=1
    )


def _others(logits: Tensor, target: Tensor) -> Tensor:
    return logits.masked_fill(target, -torch.inf).log_softmax(1)


def _divergence(log_student: Tensor, log_teacher: Tensor, left_out: Tensor | None = None) -> Tensor:
    """``sum p_t (log p_t - log p_s)`` of every row."""
    apart = log_teacher - log_student
    if left_out is not None:  # minus infinity on both sides
        apart = torch.where(left_out, torch.zeros_like(apart), apart)
    return (log_teacher.exp() * apart).sum(1)
