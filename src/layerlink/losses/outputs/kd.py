"""Knowledge distillation: the softened outputs."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.masking import channel_axis, cleared, mean_of
from layerlink.losses.outputs.soft import divergences, soft_cross_entropy
from layerlink.losses.shapes import ShapeError, require_classes, require_equal_shapes


def kd(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    temperature: float = 4.0,
    t_squared: bool = True,
    form: Literal["kl", "cross-entropy"] = "kl",
) -> Tensor:
    """``T^2 * sum_c p_t log(p_t / p_s)`` with ``p = softmax(z / T)``, mean over the batch and its positions.

    Args:
        student: logits (N, C); or with a softmax at every position (N, L, C) or (N, C, H, W); C >= 2, any floating
            dtype.
        teacher: the same shape.
        mask: bool (N,), (N, L) or (N, H, W), the positions that count; the mean is over these.
        temperature: T > 0, the divisor of both.
        t_squared: multiply by T^2, so that the gradient's size does not depend on T.
        form: "kl" is 0 for equal outputs; "cross-entropy" has the same gradient and keeps the teacher's entropy.

    Returns:
        Scalar in nats (times T^2), float32 or wider.

    Raises:
        ShapeError: where the shapes differ or are no logits.
        UsageError: for an impossible option.

    Source: Hinton, Vinyals & Dean 2015 (arXiv 1503.02531), section 2. Weight: 0.9 beside 0.1 of the labels, T = 4.

    >>> import torch
    >>> z = torch.tensor([[2.0, 0.0, -2.0]])
    >>> kd(z, z)
    tensor(0.)
    """
    if not temperature > 0:
        raise UsageError(f"kd: temperature must be > 0; got {temperature:g}")
    if form not in ("kl", "cross-entropy"):
        raise UsageError(f"kd: form must be 'kl' or 'cross-entropy'; got {form!r}")
    entropy = form == "kl"
    if mask is None and student.ndim == 2:
        return soft_cross_entropy(student, teacher, temperature=temperature, t_squared=t_squared, entropy=entropy)
    require_equal_shapes("kd", student, teacher)
    if student.ndim not in (2, 3, 4):
        raise ShapeError(f"kd needs logits (N, C), (N, L, C) or (N, C, H, W); got {tuple(student.shape)}")
    require_classes("kd", student)
    own, other = (cleared("kd", side, mask) for side in (student, teacher))
    rows = divergences(own, other, temperature=temperature, entropy=entropy, axis=channel_axis(student))
    loss = mean_of(rows if mask is None else rows * mask, mask)
    return loss * temperature**2 if t_squared else loss
