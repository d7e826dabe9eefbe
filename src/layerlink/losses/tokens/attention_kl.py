"""KL divergence between maps of attention."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.masking import mean_of, pairs
from layerlink.losses.outputs.soft import divergences
from layerlink.losses.shapes import at_least_float32, require_attention

EPSILON = 1e-12  # of a probability


def attention_kl(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    given: Literal["scores", "probabilities"] = "scores",
) -> Tensor:
    """Mean over heads and tokens of ``sum_j a_t log(a_t / a_s)``: a is what the token attends to, of sum 1.

    Args:
        student: (N, heads, L, L), any floating dtype; rows are the tokens that ask, columns those attended to.
        teacher: the same shape.
        mask: bool (N, L), the tokens that count: others have neither a row nor a column, and the rest of a row has sum
            1; or (N, L, L) of pairs. The mean is over rows that have any.
        given: "scores" before their softmax; or "probabilities" after it, which is what models return as attentions,
            taken to be 1e-12 at least.

    Returns:
        Scalar in nats, float32 or wider, >= 0 up to rounding; 0 for equal maps.

    Raises:
        ShapeError: where they are no maps of attention of one shape.
        UsageError: for an impossible option.

    Source: Wang et al. 2020 (MiniLM, arXiv 2002.10957), section 3.1, at the last layer.
    Differs: code in use also has the cross-entropy, of the same gradient but not 0 for equal maps.
    Weight: 1.
    When: both networks have as many heads, and give their attention; else ``minilmv2``.
    Cost: N heads L^2.

    >>> import torch
    >>> a = torch.randn(2, 3, 4, 4)
    >>> float(attention_kl(a + 1, a)) < 1e-6
    True
    """
    require_attention("attention_kl", student, teacher)
    if given not in ("scores", "probabilities"):
        raise UsageError(f"attention_kl: given must be 'scores' or 'probabilities'; got {given!r}")
    kept = None if mask is None else pairs("attention_kl", mask, student)
    own, other = (_scores(side, kept, given) for side in (student, teacher.detach()))
    rows = divergences(own, other, temperature=1.0)
    if kept is None:
        return rows.mean()
    asked = kept.any(-1)
    return mean_of(rows * asked, asked)


def rows_asked(mask: Tensor, **options: Any) -> Tensor:
    """The rows that the mean is over, of a mask of tokens or of pairs."""
    return mask.any(-1) if mask.ndim == 3 else mask


def _scores(values: Tensor, kept: Tensor | None, given: str) -> Tensor:
    values = at_least_float32(values)
    # Minus infinity, where nothing may be attended to, would be NaN in a difference of logarithms.
    least = torch.finfo(values.dtype).min / 4
    if kept is not None:
        values = torch.where(kept, values, torch.zeros_like(values))
    values = values.clamp_min(least) if given == "scores" else values.clamp_min(EPSILON).log()
    return values if kept is None else values.masked_fill(~kept, least)
