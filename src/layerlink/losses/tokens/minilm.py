"""Relations between the tokens of a sequence, as self-attention sees them."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.losses.masking import cleared, mean_of
from layerlink.losses.outputs.soft import divergences
from layerlink.losses.shapes import ShapeError, at_least_float32, own_digits, require_tokens


def minilm(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None, heads: int = 12) -> Tensor:
    """KL divergence of relations, ``softmax(x x^T / sqrt(d))`` a head, mean over heads and tokens.

    The features, of queries, keys, values or hidden states, are cut into relation heads, as many on both sides,
    whatever the models' own heads and widths are.

    Args:
        student: (N, L, D), any floating dtype; D divisible by ``heads``.
        teacher: (N, L, D'); D' divisible by ``heads``.
        mask: bool (N, L), the tokens that count; others are neither asked nor attended to.
        heads: of the relations.

    Returns:
        Scalar in nats, float32 or wider; 0 for equal relations.

    Raises:
        ShapeError: where they are no sequences of the same tokens, or are not divisible by ``heads``.

    Source: Wang et al. 2021 (MiniLMv2, arXiv 2012.15828), eq. 6 to 8.
    Weight: 1 each for queries, keys and values.
    When: transformers of other widths and numbers of heads.
    Cost: heads x L x L a layer and example.
    """
    teacher = teacher.detach()
    return relations("minilm", student, teacher, mask, heads)


def relations(loss: str, student: Tensor, teacher: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    """As ``minilm``.

    Args:
        loss: for messages.
        student: (N, L, D).
        teacher: (N, L, D').
        mask: bool (N, L).
        heads: of the relations.

    Raises:
        ShapeError: where they are no tokens of the same examples, or heads do not divide the widths.
    """
    require_tokens(loss, student, teacher)
    if heads < 1 or student.shape[2] % heads or teacher.shape[2] % heads:
        raise ShapeError(
            f"{loss}: heads must divide both widths; got {heads} heads, {student.shape[2]} of the student and "
            f"{teacher.shape[2]} of the teacher"
        )
    own, other = (_relations(cleared(loss, side, mask), mask, heads) for side in (student, teacher))
    rows = divergences(own, other, temperature=1.0)
    if mask is None:
        return rows.mean()
    asked = mask[:, None]
    return mean_of(rows * asked, asked)


def _relations(values: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    """Scores before the softmax: (N, heads, L, L)."""
    count, length, width = values.shape
    split = at_least_float32(values).reshape(count, length, heads, width // heads).transpose(1, 2)
    with own_digits(split):
        scores: Tensor = split @ split.transpose(2, 3) / split.shape[3] ** 0.5
    # Not minus infinity: a row of nothing else would be NaN.
    return scores if mask is None else scores.masked_fill(~mask[:, None, None], torch.finfo(scores.dtype).min / 2)
