"""Variational information distillation: the teacher's activation, told as a Gaussian by the student's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.shapes import ShapeError, at_least_float32, require_same_batch, to_smaller_map

EPSILON = 1e-5


class VID(nn.Module):
    """Mean of ``((mu(f_s) - f_t)^2 / v + log v) / 2``, ``v = log(1 + e^a) + 1e-5`` a channel; mu and a are trained.

    Args:
        student: shape of the student's activation, (N, C) or (N, C, H, W).
        teacher: of the teacher's, (N, D) or (N, D, H', W'). The larger map is average-pooled to the smaller one.
        variance: initial v, > 1e-5.

    ``forward`` gives a scalar, float32 or wider, in nats per element; it is not 0 for equal activations, and may be
    negative: its least value goes with the logarithm of the noise that is left.

    Source: Ahn et al. 2019 (arXiv 1904.05835), eq. 5 and 6: mu is three 1x1 convolutions without bias, ReLU between
        them.
    Weight: 1.
    When: not all of the teacher's channels can be told from the student's: those that cannot count less.
    Cost: three 1x1 convolutions, the last two of the teacher's channels.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int], *, variance: float = 5.0) -> None:
        super().__init__()
        if len(student) != len(teacher) or len(student) not in (2, 4) or not min(*student, *teacher):
            raise ShapeError(
                f"vid needs (N, C) or (N, C, H, W) on both sides; student gives {tuple(student)}, teacher "
                f"{tuple(teacher)}"
            )
        if not variance > EPSILON:
            raise UsageError(f"vid: variance must be > {EPSILON:g}; got {variance:g}")
        own, other = student[1], teacher[1]
        self.mean = nn.Sequential(
            nn.Conv2d(own, other, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(other, other, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(other, other, 1, bias=False),
        )
        self.scale = nn.Parameter(torch.full((other,), math.log(math.expm1(variance - EPSILON))))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of two activations with the shapes it was made for; any batch size."""
        teacher = teacher.detach()
        require_same_batch("vid", student, teacher)
        own, other = (side[:, :, None, None] if side.ndim == 2 else side for side in (student, teacher))
        own, other = to_smaller_map(own, at_least_float32(other))
        mean = at_least_float32(self.mean(own))
        variance = (F.softplus(self.scale) + EPSILON).to(mean.dtype).view(1, -1, 1, 1)
        return 0.5 * ((mean - other).square() / variance + variance.log()).mean()
