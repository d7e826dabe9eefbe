"""What losses that know the label share: the label's class against all others, and the others among themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.losses.shapes import ShapeError, require_equal_shapes


def require_labelled(loss: str, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Where the labels stand among the classes: (N, C) bool.

    Raises:
        ShapeError: unless both are logits (N, C) of at least two classes, with int64 labels (N,).
    """
    require_equal_shapes(loss, student, teacher)
    if student.ndim != 2 or student.shape[1] < 2 or labels.shape != student.shape[:1] or labels.dtype != torch.int64:
        raise ShapeError(
            f"{loss} needs logits (N, C) of at least two classes and int64 labels (N,); got logits "
            f"{tuple(student.shape)}, labels {labels.dtype} {tuple(labels.shape)}"
        )
    return torch.zeros_like(student, dtype=torch.bool).scatter_(1, labels[:, None], True)


def target_and_rest(logits: Tensor, target: Tensor) -> Tensor:
    """Logarithms of p of the label and of all others together: (N, 2). Finite for finite logits."""
    log_p = logits.log_softmax(1)
    return torch.stack([picked(log_p, target), log_p.masked_fill(target, -torch.inf).logsumexp(1)], dim=1)


def picked(values: Tensor, target: Tensor) -> Tensor:
    """Of every row the value at its label: (N,)."""
    return values.masked_fill(~target, -torch.inf).amax(1)


def others(logits: Tensor, target: Tensor) -> Tensor:
    """Logarithms of the softmax over the classes that are no target: (N, C), minus infinity at the target."""
    return logits.masked_fill(target, -torch.inf).log_softmax(1)


def divergence(log_student: Tensor, log_teacher: Tensor, left_out: Tensor | None = None) -> Tensor:
    """``sum p_t (log p_t - log p_s)`` of every row, without what is left out, where both are minus infinity."""
    apart = log_teacher - log_student
    if left_out is not None:
        apart = torch.where(left_out, torch.zeros_like(apart), apart)
    return (log_teacher.exp() * apart).sum(1)
