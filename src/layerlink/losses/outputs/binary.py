"""Losses of outputs that are yes or no each: a sigmoid's logits, one a label."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.shapes import ShapeError, at_least_float32, require_elements, require_equal_shapes


def binary_cross_entropy(
    logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0, mask: Tensor | None = None
) -> Tensor:
    """``-y log p - (1 - y) log(1 - p)`` with ``p = sigmoid(z)``, mean over examples and labels.

    Args:
        logits: (N, K) scores before the sigmoid, K >= 1 labels, any floating dtype; or (N,) of one label.
        target: the same shape, 0..1: whether each label is true, or how likely; bool, integer or floating.
        label_smoothing: s moves targets to ``y (1 - s) + s / 2``, 0..1.
        mask: bool of the same shape, true where a label is known; the mean is over these. 0 where none is.

    Returns:
        Scalar in nats, float32 or wider, >= 0.

    Raises:
        ShapeError: where shapes differ, there is nothing in them, or a target lies outside 0..1.
    """
    if logits.shape != target.shape or not logits.is_floating_point() or target.is_complex():
        raise ShapeError(
            "hard loss of the task multi-label needs logits (N, K) and a target 0..1 of the same shape; got logits "
            f"{logits.dtype} {tuple(logits.shape)}, target {target.dtype} {tuple(target.shape)}"
        )
    require_elements("hard loss", logits)
    logits = at_least_float32(logits)
    wanted = target.to(logits.dtype)
    if mask is not None:
        wanted = wanted.masked_fill(~mask, 0.5)
    low, high = float(wanted.min()), float(wanted.max())
    if not (low >= 0 and high <= 1):
        raise ShapeError(
            f"targets of the task multi-label must lie in 0..1; got {low:g} to {high:g}. Where a value means that a "
            "label is not known, say so: task=layerlink.MultiLabel(unlabelled=-1)"
        )
    if label_smoothing:
        wanted = wanted * (1 - label_smoothing) + label_smoothing / 2
    if mask is None:
        return F.binary_cross_entropy_with_logits(logits, wanted)
    rows = F.binary_cross_entropy_with_logits(logits.masked_fill(~mask, 0), wanted, reduction="none")
    return (rows * mask).sum() / mask.sum().clamp_min(1)


def binary_kd(
    student: Tensor, teacher: Tensor, *, mask: Tensor | None = None, temperature: float = 1.0, t_squared: bool = True
) -> Tensor:
    """``T^2 * (p_t log(p_t / p_s) + (1 - p_t) log((1 - p_t) / (1 - p_s)))``, mean over examples and labels.

    With ``p = sigmoid(z / T)``: the KL divergence between what both say of every label by itself.

    Args:
        student: logits (N, K), K >= 1 labels, any floating dtype.
        teacher: the same shape.
        mask: bool (N,), the examples that count; the mean is over these.
        temperature: T > 0, the divisor of both.
        t_squared: multiply by T^2, so that the gradient's size does not depend on T.

    Returns:
        Scalar in nats (times T^2), float32 or wider; 0 for equal outputs.

    Raises:
        ShapeError: where the shapes differ or are not (N, K).
        UsageError: for an impossible option.

    Source: the binary form of Hinton, Vinyals & Dean 2015 (arXiv 1503.02531), section 2; for several labels Yang et al.
    2023 (ICCV 2023), eq. 4 (MLD).
    Weight: 0.9 beside 0.1 of the labels, as ``kd``.
    When: outputs are sigmoids: yes or no, or several labels at once.
    Cost: that of two sigmoids.

    >>> import torch
    >>> binary_kd(torch.tensor([[0.0]]), torch.tensor([[0.0]]))
    tensor(0.)
    """
    teacher = teacher.detach()
    if not temperature > 0:
        raise UsageError(f"binary_kd: temperature must be > 0; got {temperature:g}")
    require_equal_shapes("binary_kd", student, teacher)
    if student.ndim != 2:
        raise ShapeError(f"binary_kd needs logits (N, K); got {tuple(student.shape)}")
    own, other = (at_least_float32(side) / temperature for side in (student, teacher))
    if mask is not None:
        if mask.dtype != torch.bool or mask.shape != student.shape[:1]:
            raise ShapeError(f"binary_kd needs a bool mask ({len(student)},); got {mask.dtype} {tuple(mask.shape)}")
        own, other = (side.masked_fill(~mask[:, None], 0) for side in (own, other))
    yes = other.sigmoid() * (F.logsigmoid(other) - F.logsigmoid(own))
    no = (-other).sigmoid() * (F.logsigmoid(-other) - F.logsigmoid(-own))
    rows = (yes + no).mean(1)
    loss = rows.mean() if mask is None else (rows * mask).sum() / mask.sum().clamp_min(1)
    return loss * temperature**2 if t_squared else loss
