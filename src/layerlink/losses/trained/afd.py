"""Attention-based feature matching: which of the student's layers learns from which of the teacher's is learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.shapes import ShapeError, at_least_float32, own_digits, require_maps, unit
from layerlink.losses.trained.layers import ConvNorm, at_weights

Maps = tuple[Tensor, ...]


class AFD(nn.Module):
    """The sum over pairs of layers of ``alpha_ts mean((a_s - a_t)^2)``, mean over examples: a are maps of attention.

    a are as ``at`` has them; alpha, a softmax over the student's layers s for each of the teacher's t, is learned.

    With q a linear map with batch norm of the teacher's pooled channels, k one with ReLU of the student's, B_t a linear
    map with batch norm: ``alpha_t = softmax_s((q_t . B_t k_s + p_t . p_s) / sqrt(dim))``, where p are trained, too.

    Args:
        student: shapes (N, C, H, W) of the student's layers, one or more.
        teacher: of the teacher's; as many or not.
        dim: of queries and keys.

    ``forward`` gives a scalar, float32 or wider, >= 0; it is not 0 for equal layers, unless there is one a side. The
    student's energy ``mean_c f^2`` is pooled to the teacher's positions, or repeated where these are more.

    Source: Ji, Heo & Park 2021 (AAAI 2021, arXiv 2102.02973), section 3.
    Differs: the mean of squares that the authors' code takes, in place of the norm.
    Weight: 200.
    When: it is not known which layers go together.
    Cost: one pass over every layer, and a pair of maps of attention for every pair of layers.
    """

    def __init__(self, student: Sequence[Sequence[int]], teacher: Sequence[Sequence[int]], *, dim: int = 128) -> None:
        super().__init__()
        if not student or not teacher or any(len(shape) != 4 or not min(shape) for shape in (*student, *teacher)):
            raise ShapeError(
                f"afd needs maps (N, C, H, W) on both sides; student gives {[tuple(s) for s in student]}, teacher "
                f"{[tuple(s) for s in teacher]}"
            )
        if dim < 1:
            raise UsageError(f"afd: dim must be >= 1; got {dim}")
        self.dim = dim
        self.queries = nn.ModuleList(ConvNorm(shape[1], dim) for shape in teacher)
        self.keys = nn.ModuleList(ConvNorm(shape[1], dim, relu=True) for shape in student)
        self.between = ConvNorm(dim, dim * len(teacher))
        self.student_places, self.teacher_places = (
            nn.Parameter(nn.init.xavier_normal_(torch.empty(len(side), dim))) for side in (student, teacher)
        )

    def forward(self, student: Maps, teacher: Maps) -> Tensor:
        """The loss of the layers' activations, in the order of the shapes."""
        if len(student) != len(self.keys) or len(teacher) != len(self.queries):
            raise ShapeError(
                f"afd was made for {len(self.keys)} layers of the student and {len(self.queries)} of the teacher; got "
                f"{len(student)} and {len(teacher)}"
            )
        for value in (*student, *teacher):
            require_maps("afd", value, teacher[0])
        values = [at_least_float32(value) for value in student]
        apart = torch.stack([_apart(values, at_least_float32(layer.detach())) for layer in teacher], dim=1)
        loss: Tensor = (self.attention(student, teacher).to(apart.dtype) * apart).sum((1, 2)).mean()
        return loss

    def attention(self, student: Maps, teacher: Maps) -> Tensor:
        """alpha, (N, teacher's layers, student's layers): who learns from whom, summing to 1 over the last."""
        keys = torch.stack([_pooled(layer, value) for layer, value in zip(self.keys, student, strict=True)], dim=1)
        queries = torch.stack(
            [_pooled(layer, value.detach()) for layer, value in zip(self.queries, teacher, strict=True)], dim=1
        )
        count, layers, dim = keys.shape
        seen = self.between(keys.reshape(-1, dim, 1, 1)).reshape(count, layers, -1, dim)
        seen, queries, own, other = (
            at_least_float32(value) for value in (seen, queries, self.student_places, self.teacher_places)
        )
        with own_digits(queries):
            scores = torch.einsum("nstd,ntd->nts", seen, queries) + other @ own.T
        alpha: Tensor = (scores / self.dim**0.5).softmax(2)
        return alpha


def _pooled(layer: nn.Module, value: Tensor) -> Tensor:
    """(N, dim)."""
    pooled: Tensor = layer(at_weights(F.adaptive_avg_pool2d(value, 1), layer))
    return pooled.flatten(1)


def _apart(student: Sequence[Tensor], teacher: Tensor) -> Tensor:
    """Between a layer of the teacher and every layer of the student: (N, layers)."""
    size = (teacher.shape[2], teacher.shape[3])
    target = unit(teacher.square().mean(1).flatten(1), 1)
    energies = (F.adaptive_avg_pool2d(own.square().mean(1, keepdim=True), size).flatten(1) for own in student)
    return torch.stack([(unit(own, 1) - target).square().mean(1) for own in energies], dim=1)
