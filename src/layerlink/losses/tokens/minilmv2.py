"""Relations of queries, keys and values between the tokens of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.shapes import ShapeError
from layerlink.losses.tokens.minilm import relations

Taps = tuple[Tensor, ...]


def minilmv2(student: Taps, teacher: Taps, *, mask: Tensor | None = None, heads: int = 48, parts: int = 1) -> Tensor:
    """Mean over queries, keys and values x of the KL divergence of ``softmax(x x^T / sqrt(d))`` of each relation head.

    Each is cut into relation heads of width d, as many on both sides, whatever the models' own heads and widths are;
    means are over heads and tokens, as in ``minilm``.

    Args:
        student: queries, keys and values, (N, L, D) each, any floating dtype: a tap each; or one tap of all three side
            by side, (N, L, 3 D), with ``parts=3``.
        teacher: as many, (N, L, D') each.
        mask: bool (N, L), the tokens that count; others are neither asked nor attended to.
        heads: of the relations, >= 1; must divide D and D'.
        parts: into how many each tap is cut first, >= 1.

    Returns:
        Scalar in nats, float32 or wider, >= 0 up to rounding; 0 for equal relations.

    Raises:
        ShapeError: where they are no sequences of the same tokens, or are not divisible by ``heads`` and ``parts``.
        UsageError: for an impossible option.

    Source: Wang et al. 2021 (MiniLMv2, arXiv 2012.15828), eq. 5 to 8: a third of queries, keys and values each.
    Weight: 1, with 48 heads (64 of large teachers), at the student's last layer and an upper layer of the teacher.
    When: numbers of heads or widths differ; one link is enough for a whole network.
    Cost: N heads L^2 memory, N L^2 D time, for each of the three.
    """
    if not student or len(student) != len(teacher):
        raise ShapeError(
            "minilmv2 needs as many taps on both sides, of queries, keys and values; got "
            f"{len(teacher)} of the teacher and {len(student)}"
        )
    if parts < 1 or heads < 1:
        raise UsageError(f"minilmv2: heads and parts must be >= 1; got {heads}, {parts}")
    found = []
    for own, other in zip(student, teacher, strict=True):
        cut = (_cut(own, parts), _cut(other.detach(), parts))
        found += [relations("minilmv2", *each, mask, heads) for each in zip(*cut, strict=True)]
    return torch.stack(found).mean()


def _cut(values: Tensor, parts: int) -> tuple[Tensor, ...]:
    if values.ndim < 1 or values.shape[-1] % parts:
        raise ShapeError(f"minilmv2: parts must divide the width; got {parts} of {tuple(values.shape)}")
    return values.chunk(parts, dim=-1)
