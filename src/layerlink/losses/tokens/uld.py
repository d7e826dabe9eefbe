"""Universal logit distillation: outputs over other vocabularies."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.masking import cleared, mean_of
from layerlink.losses.shapes import ShapeError, at_least_float32, require_classes, require_same_batch


def uld(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None, temperature: float = 1.0) -> Tensor:
    """Mean over tokens of ``sum_k |p_s - p_t|``: p is ``softmax(z / T)`` sorted from the largest, 0 past its end.

    Which word a probability belongs to does not matter, so that vocabularies may differ in words and number.

    Args:
        student: logits (N, C) or (N, L, C), C >= 2, any floating dtype.
        teacher: (N, D) or (N, L, D), D >= 2, of the same N and L.
        mask: bool (N,) or (N, L), the tokens that count; the mean is over these.
        temperature: T > 0, the divisor of both.

    Returns:
        Scalar, float32 or wider, 0..2; 0 for equal outputs, and for those that differ in order alone.

    Raises:
        ShapeError: where they are no logits of the same tokens.
        UsageError: for an impossible option.

    Source: Boizard et al. 2024 (ULD, arXiv 2402.12030).
    Differs: tokens are compared one by one, which takes sequences of equal length; where two tokenizers cut a text into
        other pieces, bring them together first: the authors' code cuts the longer answer off. The mean is over all
        tokens of the batch, theirs over each answer and then the answers.
    Weight: 1.5, beside the labels.
    When: the teacher has another tokenizer; with the same one, ``kd`` says more.
    Cost: N L C log C time, N L C memory.

    >>> import torch
    >>> z = torch.randn(4, 7)
    >>> float(uld(z.flip(1), z)) < 1e-6
    True
    """
    require_same_batch("uld", student, teacher)
    if student.ndim not in (2, 3) or student.shape[:-1] != teacher.shape[:-1]:
        raise ShapeError(
            f"uld needs logits (N, C) or (N, L, C) of the same tokens; student gives {tuple(student.shape)}, teacher "
            f"{tuple(teacher.shape)}"
        )
    for side in (student, teacher):
        require_classes("uld", side)
    if not temperature > 0:
        raise UsageError(f"uld: temperature must be > 0; got {temperature:g}")
    own, other = (
        (at_least_float32(cleared("uld", side, mask)) / temperature).softmax(-1).sort(dim=-1, descending=True).values
        for side in (student, teacher.detach())
    )
    longest = max(own.shape[-1], other.shape[-1])
    own, other = (F.pad(side, (0, longest - side.shape[-1])) for side in (own, other))
    rows = (own - other).abs().sum(-1)
    return mean_of(rows if mask is None else rows * mask, mask)
