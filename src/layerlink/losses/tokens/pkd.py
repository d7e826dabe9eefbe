"""Patient knowledge distillation: the direction of hidden states."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.masking import cleared, mean_of
from layerlink.losses.shapes import ShapeError, at_least_float32, require_equal_shapes, unit


def pkd(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    tokens: Literal["first", "all"] = "first",
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """Mean over tokens and features of ``(h_s / |h_s| - h_t / |h_t|)^2``, of each sequence's first token.

    Args:
        student: (N, L, D), any floating dtype; or (N, D), of one token a sequence.
        teacher: the same shape; where widths differ the link takes ``adapter=linear``.
        mask: bool (N, L), or (N,) for (N, D): the tokens that count; the mean is over these.
        tokens: "first" of each sequence, the class token of encoders such as BERT; or "all".
        reduction: over features: "mean", or "sum", which is D times that.

    Returns:
        Scalar, float32 or wider, 0..4 / D ("sum": 0..4); 0 for states of equal direction. The activations' scale does
        not matter.

    Raises:
        ShapeError: where the shapes differ or are no sequences.
        UsageError: for an impossible option.

    Source: Sun et al. 2019 (PKD, arXiv 1908.09355), section 3: the sum over features and layers.
    Differs: by default the mean over features, which the authors' code takes; one link a layer, where theirs is one
        mean over layers.
    Weight: 100 ("mean"; its authors searched 10 to 1000), beside labels and kd.
    When: encoders whose first token carries the sequence; every second layer, or the last few.
    Cost: N D; N L D of all tokens.

    >>> import torch
    >>> h = torch.randn(2, 3, 4)
    >>> float(pkd(2 * h, h)) < 1e-12
    True
    """
    require_equal_shapes("pkd", student, teacher)
    if student.ndim not in (2, 3):
        raise ShapeError(f"pkd needs (N, L, D) or (N, D); got {tuple(student.shape)}")
    if tokens not in ("first", "all") or reduction not in ("mean", "sum"):
        raise UsageError(
            f"pkd: tokens must be 'first' or 'all', reduction 'mean' or 'sum'; got {tokens!r}, {reduction!r}"
        )
    own, other = (cleared("pkd", side, mask) for side in (student, teacher.detach()))
    if tokens == "first" and student.ndim == 3:
        own, other, mask = own[:, 0], other[:, 0], None if mask is None else mask[:, 0]
    apart = (_direction(own) - _direction(other)).square()
    rows = apart.mean(-1) if reduction == "mean" else apart.sum(-1)
    return mean_of(rows if mask is None else rows * mask, mask)


def tokens_compared(mask: Tensor, *, tokens: str = "first", **options: Any) -> Tensor:
    """The tokens that the mean is over."""
    return mask[:, 0] if tokens == "first" and mask.ndim == 2 else mask


def _direction(values: Tensor) -> Tensor:
    return unit(at_least_float32(values), -1)
