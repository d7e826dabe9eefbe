"""Refined logit distillation: what the teacher gets wrong about the label is not taught."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.targets.classes import divergence, require_labelled, target_and_rest


def rld(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    sample_temperature: float = 1.0,
    standardise: bool = False,
) -> Tensor:
    """``alpha * SCD + beta * MCD``, mean over the batch.

    SCD is ``T_a^2 KL((max p_t, rest), (p_s[y], rest))`` at T_a: the student is to be as sure of the label as the
    teacher is of its likeliest class. MCD is ``T^2 KL`` at T of the softmaxes over the classes that the teacher ranks
    below the label: the label itself and all that it puts before it are left out.

    Args:
        student: logits (N, C), C >= 2, any floating dtype.
        teacher: the same shape.
        labels: (N,) int64 in 0..C-1.
        alpha: weight of SCD, >= 0.
        beta: weight of MCD, >= 0.
        temperature: T > 0.
        sample_temperature: T_a > 0.
        standardise: compare standardised logits, see ``standardise``.

    Returns:
        Scalar in nats, float32 or wider, >= 0 up to rounding; for equal outputs 0 where the teacher is right.

    Raises:
        ShapeError: where logits or labels do not fit.
        UsageError: for an impossible option.

    Source: Sun et al. 2024 (arXiv 2408.07703), eq. 5 to 8.
    Weight: 1 beside 1 of the labels, alpha 1, beta 8, T 4, T_a 1, rising over 20 epochs (``warmup=20``).
    When: the teacher is often wrong on the training images.
    Cost: that of three softmaxes.
    Differs: an example whose label the teacher ranks last has no MCD; classes are left out exactly, not by -1e9.
    """
    teacher = teacher.detach()
    target = require_labelled("rld", student, teacher, labels)
    if not (temperature > 0 and sample_temperature > 0 and alpha >= 0 and beta >= 0):
        raise UsageError(
            f"rld: temperatures must be > 0, alpha and beta >= 0; got {temperature:g}, {sample_temperature:g}, "
            f"{alpha:g}, {beta:g}"
        )
    own, other = (comparable(side, standardise) for side in (student, teacher))
    likeliest = torch.zeros_like(target).scatter_(1, other.argmax(1, keepdim=True), True)
    sure = target_and_rest(own / sample_temperature, target), target_and_rest(other / sample_temperature, likeliest)
    sample = divergence(*sure) * sample_temperature**2
    out = other >= other.gather(1, labels[:, None])
    nothing = out.all(1, keepdim=True)  # a softmax over no class would be NaN
    kept = [(side / temperature).masked_fill(out & ~nothing, -torch.inf).log_softmax(1) for side in (own, other)]
    masked = divergence(kept[0], kept[1], left_out=out) * temperature**2
    return (alpha * sample + beta * masked).mean()
