"""Weighted soft labels: a softened target counts as much as the student needs it."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.outputs.soft import divergences
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.shapes import at_least_float32
from layerlink.losses.targets.classes import picked, require_labelled

EPSILON = 1e-7


def wsld(
    student: Tensor, teacher: Tensor, *, labels: Tensor, temperature: float = 4.0, standardise: bool = False
) -> Tensor:
    """``T^2 * (1 - exp(-CE_s / CE_t)) * KL(p_t, p_s)``, mean over the batch; the weight has no gradient.

    CE are the labels' cross-entropies at temperature 1: where the student does better than the teacher the teacher
    counts less.

    Args:
        student: logits (N, C), C >= 2, any floating dtype.
        teacher: the same shape.
        labels: (N,) int64 in 0..C-1.
        temperature: T > 0 of KL.
        standardise: let KL compare standardised logits, see ``standardise``.

    Returns:
        Scalar in nats times T^2, float32 or wider, >= 0 up to rounding; 0 for equal outputs.

    Raises:
        ShapeError: where logits or labels do not fit.
        UsageError: for an impossible temperature.

    Source: Zhou et al. 2021 (arXiv 2102.00650), eq. 10 and 11.
    Weight: 2.25 beside 1 of the labels, T 4.
    When: kd does worse than labels alone late in the training.
    Cost: that of three softmaxes.
    Differs: KL in place of the cross-entropy, which has the same gradient here and is not 0 for equal outputs.
    """
    teacher = teacher.detach()
    target = require_labelled("wsld", student, teacher, labels)
    if not temperature > 0:
        raise UsageError(f"wsld: temperature must be > 0; got {temperature:g}")
    own, other = (at_least_float32(side) for side in (student, teacher))
    with torch.no_grad():
        ours, theirs = (-picked(side.log_softmax(1), target) for side in (own, other))
        weight = -torch.expm1(-ours / (theirs + EPSILON))
    own, other = comparable(own, standardise), comparable(other, standardise)
    return (weight * divergences(own, other, temperature=temperature)).mean() * temperature**2
