"""KL over the teacher's likeliest classes and one bucket for all others."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.masking import channel_axis, cleared, mean_of
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.shapes import ShapeError, at_least_float32, require_classes, require_equal_shapes


def topk_kl(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    k: int = 64,
    temperature: float = 1.0,
    t_squared: bool = True,
    standardise: bool = False,
) -> Tensor:
    """``T^2 * sum p_t log(p_t / p_s)`` over the teacher's k likeliest classes, and the rest of both as one class.

    Args:
        student: logits (N, C), (N, L, C) or (N, C, H, W), C >= 2, any floating dtype.
        teacher: the same shape.
        mask: bool (N,), (N, L) or (N, H, W), the positions that count.
        k: how many classes, >= 1; C or more is plain ``kd``.
        temperature: T > 0. What the k classes hold shrinks fast with it: at T 4 a few percent in large vocabularies.
        t_squared: multiply by T^2.
        standardise: compare standardised logits, see ``standardise``.

    Returns:
        Scalar in nats, float32 or wider, >= 0 up to rounding: a sum over the k alone is no divergence and goes below 0.
        At most that of all classes; 0 for equal outputs.

    Raises:
        ShapeError: where the shapes differ or are no logits.
        UsageError: for an impossible option.

    Source: the log-sum inequality; truncated sums in use have k 50 to 1024.
    Weight: 1.
    When: vocabularies are large and the teacher's outputs are stored, or slow to move.
    Cost: that of two softmaxes and a top-k; of a store 2 k numbers a position.
    """
    teacher = teacher.detach()
    require_equal_shapes("topk_kl", student, teacher)
    if student.ndim not in (2, 3, 4):
        raise ShapeError(f"topk_kl needs logits (N, C), (N, L, C) or (N, C, H, W); got {tuple(student.shape)}")
    require_classes("topk_kl", student)
    if not (temperature > 0 and k >= 1):
        raise UsageError(f"topk_kl: temperature must be > 0 and k >= 1; got {temperature:g}, {k}")
    axis = channel_axis(student)
    own, other = (
        (
            comparable(cleared("topk_kl", side, mask), standardise, axis=axis).movedim(axis, -1) / temperature
        ).log_softmax(-1)
        for side in (student, teacher)
    )
    if k < other.shape[-1]:
        chosen = other.topk(k, dim=-1).indices
        own, other = _with_rest(own, chosen), _with_rest(other, chosen)
    return _mean(own, other, mask, temperature if t_squared else 1.0)


def topk_kl_of(
    student: Tensor,
    logs: Tensor,
    chosen: Tensor,
    *,
    mask: Tensor | None = None,
    temperature: float = 1.0,
    t_squared: bool = True,
) -> Tensor:
    """As ``topk_kl``, where of the teacher the likeliest classes alone are known, at this temperature.

    Args:
        student: logits (N, C) or (N, L, C), any floating dtype.
        logs: (N, k + 1) or (N, L, k + 1), the logarithms of the teacher's probabilities, of all other classes last.
        chosen: (N, k) or (N, L, k) int64, the classes.
        mask: bool (N,) or (N, L), the positions that count.
        temperature: T > 0, that of the teacher's.
        t_squared: multiply by T^2.

    Returns:
        Scalar in nats, float32 or wider.

    Raises:
        ShapeError: where they are of other positions or classes.
    """
    if student.ndim not in (2, 3) or student.shape[:-1] != chosen.shape[:-1] or chosen.shape[-1] >= student.shape[-1]:
        raise ShapeError(
            f"topk_kl needs of every row of logits (N, C) or (N, L, C) fewer than C classes of the teacher; got "
            f"{tuple(student.shape)} and {tuple(chosen.shape)}"
        )
    own = (at_least_float32(cleared("topk_kl", student, mask)) / temperature).log_softmax(-1)
    return _mean(_with_rest(own, chosen), logs.to(own.dtype), mask, temperature if t_squared else 1.0)


def top_of(logits: Tensor, k: int, temperature: float) -> tuple[Tensor, Tensor]:
    """The k likeliest classes of logits (..., C), C > k: logarithms (..., k + 1), of all others last, and classes."""
    logs = (at_least_float32(logits) / temperature).log_softmax(-1)
    chosen = logs.topk(k, dim=-1).indices
    return _with_rest(logs, chosen), chosen


def _mean(own: Tensor, other: Tensor, mask: Tensor | None, factor: float) -> Tensor:
    rows = (other.exp() * (other - own)).sum(-1)
    return mean_of(rows if mask is None else rows * mask, mask) * factor**2


def _with_rest(log_p: Tensor, chosen: Tensor) -> Tensor:
    """Logarithms of p of the chosen classes and of all others together."""
    rest = log_p.scatter(-1, chosen, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([log_p.gather(-1, chosen), rest], -1)
