"""Normalised knowledge distillation: the label's probability, and the other classes among themselves."""

from __future__ import annotations

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.targets.classes import others, picked, require_labelled


def nkd(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    gamma: float = 1.5,
    temperature: float = 1.0,
    standardise: bool = False,
) -> Tensor:
    """``-p_t[y] log p_s[y] - gamma T^2 sum_c q_t log q_s``, mean over the batch.

    p is the softmax at temperature 1, q the softmax over the classes that are not the label at T.

    Args:
        student: logits (N, C), C >= 2, any floating dtype.
        teacher: the same shape.
        labels: (N,) int64 in 0..C-1.
        gamma: weight of the others, >= 0.
        temperature: T > 0.
        standardise: compare standardised logits, see ``standardise``.

    Returns:
        Scalar in nats, float32 or wider; for equal outputs the teacher's own part of it, not 0: it is a cross-entropy.

    Raises:
        ShapeError: where logits or labels do not fit.
        UsageError: for an impossible option.

    Source: Yang et al. 2023 (arXiv 2303.13005), eq. 6 and 7.
    Weight: 1 beside 1 of the labels (gamma 1.5, T 1).
    When: as dkd; its parts are balanced by the teacher's confidence.
    Cost: that of two softmaxes a side.
    """
    teacher = teacher.detach()
    target = require_labelled("nkd", student, teacher, labels)
    if not (gamma >= 0 and temperature > 0):
        raise UsageError(f"nkd: gamma must be >= 0 and temperature > 0; got {gamma:g}, {temperature:g}")
    own, other = (comparable(side, standardise) for side in (student, teacher))
    return nkd_rows(own, other, target, gamma, temperature).mean()


def nkd_rows(own: Tensor, other: Tensor, target: Tensor, gamma: float, temperature: float) -> Tensor:
    """Of logits (N, C) every example's loss: (N,). ``target`` is of ``require_labelled``."""
    of_label = picked(other.log_softmax(1), target).exp() * picked(own.log_softmax(1), target)
    log_s, log_t = (others(side / temperature, target).masked_fill(target, 0.0) for side in (own, other))
    among = (log_t.exp().masked_fill(target, 0.0) * log_s).sum(1)
    return -(of_label + gamma * temperature**2 * among)
