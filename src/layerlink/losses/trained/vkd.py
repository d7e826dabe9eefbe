"""Distillation by an orthogonal projection, which can neither stretch nor forget what the student learns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.losses.masking import channel_axis, cleared, mean_of
from layerlink.losses.shapes import ShapeError, alike, at_least_float32, own_digits, require_same_batch


class VKD(nn.Module):
    """Mean over all elements of ``smooth_l1(P f_s, layer_norm(f_t))``: P is orthogonal and trained.

    The normalisation is over channels, without parameters.

    ``P = exp(A - A^T) P_0`` with P_0 orthogonal and random, of which the first rows and columns are taken.

    Args:
        student: shape (N, C), tokens (N, L, C) or maps (N, C, H, W) of the student's features.
        teacher: of the teacher's, with the same positions; channels may differ.

    ``forward`` takes a ``mask``, the positions that count, and gives a scalar, float32 or wider, >= 0; it is not 0 for
    equal features.

    Source: Miles et al. 2024 (CVPR 2024, arXiv 2403.06213), section 3.
    Differs: whitening in place of the layer norm, the paper's choice for generative tasks, is not here.
    Weight: 1; the authors set their own for every model.
    When: pooled features or class tokens, transformers too.
    Cost: a matrix exponential a step: time grows with the cube of the larger width.
    """

    start: Tensor

    def __init__(self, student: Sequence[int], teacher: Sequence[int]) -> None:
        super().__init__()
        if len(student) != len(teacher) or len(student) not in (2, 3, 4) or not min(*student, *teacher):
            raise ShapeError(
                f"vkd needs (N, C), (N, L, C) or (N, C, H, W) on both sides; student gives {tuple(student)}, teacher "
                f"{tuple(teacher)}"
            )
        axis = 2 if len(student) == 3 else 1
        self.widths = (student[axis], teacher[axis])
        self.turn = nn.Parameter(torch.zeros(max(self.widths), max(self.widths)))
        self.register_buffer("start", nn.init.orthogonal_(torch.empty_like(self.turn.detach())))

    def forward(self, student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The loss of two activations with the shapes it was made for; any batch size and length."""
        require_same_batch("vkd", student, teacher)
        axis = channel_axis(student)
        own, other = (
            at_least_float32(cleared("vkd", side, mask)).movedim(axis, -1) for side in (student, teacher.detach())
        )
        if (own.shape[-1], other.shape[-1]) != self.widths or own.shape[:-1] != other.shape[:-1]:
            raise ShapeError(
                f"vkd needs {self.widths[0]} and {self.widths[1]} channels at the same positions; student gives "
                f"{tuple(student.shape)}, teacher {tuple(teacher.shape)}"
            )
        with own_digits(own):
            projected = own @ self.projection().to(own.dtype).T
        projected, other = alike(projected, F.layer_norm(other, other.shape[-1:]))
        apart = F.smooth_l1_loss(projected, other, reduction="none").mean(-1)
        return mean_of(apart if mask is None else apart * mask, mask)

    def projection(self) -> Tensor:
        """P, (teacher's channels, student's): its rows, or its columns where these are fewer, are orthonormal."""
        own, other = self.widths
        turn = at_least_float32(self.turn)
        with own_digits(turn):
            whole: Tensor = torch.linalg.matrix_exp(turn - turn.T) @ self.start.to(turn.dtype)
        return whole[:other, :own]
