"""TinyBERT's loss of a transformer layer: its hidden states, through a linear map, and its attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.masking import cleared, mean_of, positions
from layerlink.losses.shapes import ShapeError, at_least_float32, embedded, require_tokens
from layerlink.losses.tokens.attention_mse import attention_mse

Pair = tuple[Tensor, Tensor]


class TinyBERT(nn.Module):
    """Mean of ``(W h_s + b - h_t)^2``, W and b trained, plus ``attention`` times ``attention_mse``.

    Args:
        student: shapes of the student's two taps: hidden states (N, L, D) and attention (N, heads, L, L).
        teacher: of the teacher's, (N, L, D') and (N, heads, L, L): as many heads.
        attention: weight of the second part, >= 0.
        floor: as of ``attention_mse``: scores of this or less count as 0.

    ``forward`` gives a scalar, float32 or wider, >= 0. Its attention part is 0 for equal maps, the other one where the
    linear map makes the teacher's states.

    Source: Jiao et al. 2020 (TinyBERT, arXiv 1909.10351), eq. 7 and 8: attention is scores before the softmax.
    Differs: one link a layer has a linear map of its own, where the authors' code has one for all layers.
    Weight: 1 a layer, in a stage of its own before the outputs.
    When: a transformer with fewer or thinner layers, with as many heads. Over several processes with masks of unequal
        lengths write its two parts as links of their own, ``hidden_mse, adapter=linear`` and ``attention_mse``: each is
        weighed by what it is the mean over.
    Cost: N L D D' time, N heads L^2 memory.
    """

    def __init__(
        self,
        student: Sequence[Sequence[int]],
        teacher: Sequence[Sequence[int]],
        *,
        attention: float = 1.0,
        floor: float | None = -100.0,
    ) -> None:
        super().__init__()
        fits = len(student) == len(teacher) == 2 and [len(shape) for shape in (*student, *teacher)] == [3, 4, 3, 4]
        if not fits or not all(min(shape) for shape in (*student, *teacher)):
            raise ShapeError(
                "tinybert needs two taps a side, hidden states (N, L, D) + attention (N, heads, L, L); student gives "
                f"{[tuple(shape) for shape in student]}, teacher {[tuple(shape) for shape in teacher]}"
            )
        if not attention >= 0:
            raise UsageError(f"tinybert: attention must be >= 0; got {attention:g}")
        self.attention, self.floor = attention, floor
        self.project = nn.Linear(student[0][2], teacher[0][2])

    def forward(self, student: Pair, teacher: Pair, *, mask: Tensor | None = None) -> Tensor:
        """The loss of hidden states and attention; ``mask`` bool (N, L) says which tokens count."""
        (own, own_attention), (other, other_attention) = student, teacher
        require_tokens("tinybert", own, other)
        projected = embedded(self.project, cleared("tinybert", own, mask))
        squares = (projected - at_least_float32(cleared("tinybert", other.detach(), mask))).square()
        kept = None if mask is None else positions("tinybert", mask, own)
        if kept is not None:
            squares = torch.where(kept, squares, torch.zeros_like(squares))
        hidden = mean_of(squares, kept)
        return hidden + self.attention * attention_mse(own_attention, other_attention, mask=mask, floor=self.floor)
