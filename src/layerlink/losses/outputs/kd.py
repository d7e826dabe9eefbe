"""Knowledge distillation: the softened outputs."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.masking import channel_axis, cleared, mean_of
from layerlink.losses.outputs.soft import divergences, soft_cross_entropy
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.shapes import ShapeError, at_least_float32, require_classes, require_equal_shapes

Form = Literal["kl", "cross-entropy", "reverse", "js", "skew", "skew-reverse"]
FORMS: tuple[str, ...] = get_args(Form)
MIX = {"js": 0.5, "skew": 0.1, "skew-reverse": 0.1}  # as published


def kd(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    temperature: float = 4.0,
    t_squared: bool = True,
    form: Form = "kl",
    mix: float | None = None,
    standardise: bool = False,
) -> Tensor:
    """``T^2 * sum_c p_t log(p_t / p_s)`` with ``p = softmax(z / T)``, mean over the batch and its positions.

    Args:
        student: logits (N, C); or with a softmax at every position (N, L, C) or (N, C, H, W); C >= 2, any floating
            dtype.
        teacher: the same shape.
        mask: bool (N,), (N, L) or (N, H, W), the positions that count; the mean is over these.
        temperature: T > 0, the divisor of both.
        t_squared: multiply by T^2, so that the gradient's size does not depend on T.
        form: "kl" is 0 for equal outputs; "cross-entropy" has the same gradient and keeps the teacher's entropy;
            "reverse" is ``KL(p_s, p_t)``; "js" is ``m KL(p_t, M) + (1 - m) KL(p_s, M)``, ``M = m p_t + (1 - m) p_s``;
            "skew" is ``KL(p_t, m p_t + (1 - m) p_s)``, "skew-reverse" ``KL(p_s, (1 - m) p_t + m p_s)``.
        mix: m of the last three, 0 < m < 1; None: 0.5 of "js", 0.1 of the skewed ones.
        standardise: compare standardised logits, see ``standardise``.

    Returns:
        Scalar in nats (times T^2), float32 or wider, >= 0 up to rounding; 0 for equal outputs, not so "cross-entropy".

    Raises:
        ShapeError: where the shapes differ or are no logits.
        UsageError: for an impossible option.

    Source: Hinton, Vinyals & Dean 2015 (arXiv 1503.02531), section 2; js: Agarwal et al. 2023 (2306.13649), eq. 1;
    reverse: Gu et al. 2023 (2306.08543); skewed: Ko et al. 2024 (2402.03898), eq. 3.
    Weight: 0.9 beside 0.1 of the labels, T = 4.
    When: always the first to try; "reverse" and "js" where the student is too small to cover all that the teacher says.
    Cost: that of two softmaxes.
    Differs: mixtures are of logarithms, so they stay finite where probabilities are 0 in the dtype.

    >>> import torch
    >>> z = torch.tensor([[2.0, 0.0, -2.0]])
    >>> kd(z, z)
    tensor(0.)
    """
    teacher = teacher.detach()
    if not temperature > 0:
        raise UsageError(f"kd: temperature must be > 0; got {temperature:g}")
    if form not in FORMS:
        raise UsageError(f"kd: form must be one of {', '.join(FORMS)}; got {form!r}")
    share = MIX.get(form, 0.5) if mix is None else mix
    if not 0 < share < 1 or (mix is not None and form not in MIX):
        raise UsageError(f"kd: mix must lie in 0 < mix < 1, with form js, skew or skew-reverse; got {mix} with {form}")
    plain = form in ("kl", "cross-entropy")
    entropy = form != "cross-entropy"
    if mask is None and student.ndim == 2 and plain and not standardise:
        return soft_cross_entropy(student, teacher, temperature=temperature, t_squared=t_squared, entropy=entropy)
    require_equal_shapes("kd", student, teacher)
    if student.ndim not in (2, 3, 4):
        raise ShapeError(f"kd needs logits (N, C), (N, L, C) or (N, C, H, W); got {tuple(student.shape)}")
    require_classes("kd", student)
    axis = channel_axis(student)
    own, other = (comparable(cleared("kd", side, mask), standardise, axis=axis) for side in (student, teacher))
    if plain:
        rows = divergences(own, other, temperature=temperature, entropy=entropy, axis=axis)
    else:
        log_own, log_other = ((at_least_float32(it) / temperature).log_softmax(axis) for it in (own, other))
        rows = _mixed(log_own, log_other, form, share, axis)
    loss = mean_of(rows if mask is None else rows * mask, mask)
    return loss * temperature**2 if t_squared else loss


def _mixed(own: Tensor, other: Tensor, form: str, share: float, axis: int) -> Tensor:
    """Of logarithms of probabilities: the reverse divergence, or those from mixtures of both."""

    def divergence(first: Tensor, second: Tensor) -> Tensor:
        return (first.exp() * (first - second)).sum(axis)

    if form == "reverse":
        return divergence(own, other)
    part = 1 - share if form == "skew-reverse" else share  # of the teacher
    mixture = torch.logaddexp(other + math.log(part), own + math.log(1 - part))
    if form == "js":
        return share * divergence(other, mixture) + (1 - share) * divergence(own, mixture)
    return divergence(other if form == "skew" else own, mixture)
