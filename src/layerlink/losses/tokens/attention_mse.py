"""Mean squared error between maps of attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from layerlink.losses.masking import mean_of, pairs
from layerlink.losses.shapes import at_least_float32, require_attention


def attention_mse(
    student: Tensor, teacher: Tensor, *, mask: Tensor | None = None, floor: float | None = -100.0
) -> Tensor:
    """Mean over heads and pairs of tokens of ``(student - teacher)^2`` of maps of attention.

    Args:
        student: (N, heads, L, L), scores before their softmax or probabilities, any floating dtype.
        teacher: the same shape.
        mask: bool (N, L), the tokens that count: others have neither a row nor a column; or (N, L, L) of pairs. The
            mean is over the pairs that count.
        floor: scores of this or less, as models set them where nothing may be attended to, count as 0; None: none do.

    Returns:
        Scalar, float32 or wider, in squared units of the scores, >= 0; 0 for equal maps.

    Raises:
        ShapeError: where they are no maps of attention of one shape.

    Source: Jiao et al. 2020 (TinyBERT, arXiv 1909.10351), eq. 7, on scores before the softmax.
    Differs: padded tokens count for nothing where a mask is given; the authors' code counts them as 0 by the floor
        alone, and divides by them.
    Weight: 1.
    When: both networks have as many heads; ``attention_kl`` where the small scores matter less.
    Cost: N heads L^2.

    >>> import torch
    >>> attention_mse(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), mask=torch.tensor([[True, False]]))
    tensor(1.)
    """
    require_attention("attention_mse", student, teacher)
    own, other = at_least_float32(student), at_least_float32(teacher.detach())
    kept = None if mask is None else pairs("attention_mse", mask, student)
    if kept is not None:
        own, other = (torch.where(kept, side, torch.zeros_like(side)) for side in (own, other))
    if floor is not None:
        own, other = (torch.where(side <= floor, torch.zeros_like(side), side) for side in (own, other))
    return mean_of((own - other).square(), kept)


def pairs_compared(mask: Tensor, **options: Any) -> Tensor:
    """The pairs that the mean is over, of a mask of tokens or of pairs."""
    return mask if mask.ndim == 3 else mask[:, :, None] & mask[:, None]
