"""Knowledge review: deeper layers of the student, fused one into the next, learn from each layer of the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.losses.maps.hcl import hcl
from layerlink.losses.shapes import ShapeError, require_same_batch
from layerlink.losses.trained.layers import BatchNorm

MOST_CHANNELS = 512


class Review(nn.Module):
    """The sum over layers of ``hcl(fused student, teacher)``.

    From the deepest layer to the first: a 1x1 convolution with batch norm, added to what came from the layer above by
    two maps of attention, then a 3x3 convolution with batch norm to the teacher's channels.

    Args:
        student: shapes (N, C, H, W) of the student's layers, from the first to the deepest.
        teacher: of the teacher's, as many.
        channels: of what is handed on; by default those of the student's deepest layer, 512 at most.

    ``forward`` gives a scalar, float32 or wider, >= 0.

    Source: Chen et al. 2021 (ReviewKD, arXiv 2104.09044), figure 3 and eq. 5. Initial weights: Kaiming uniform with a
        = 1.
    Weight: 5, rising over 20 epochs (``warmup=20``); the teacher's layers are read before their last ReLU.
    When: several layers of a convolutional network at once, as all stages of a ResNet.
    Cost: a 1x1 and a 3x3 convolution a layer.
    """

    def __init__(
        self, student: Sequence[Sequence[int]], teacher: Sequence[Sequence[int]], *, channels: int | None = None
    ) -> None:
        super().__init__()
        if len(student) != len(teacher) or any(len(shape) != 4 or not min(shape) for shape in (*student, *teacher)):
            raise ShapeError(
                f"review needs as many maps (N, C, H, W) on both sides; student gives {[tuple(s) for s in student]}, "
                f"teacher {[tuple(s) for s in teacher]}"
            )
        handed = channels or min(MOST_CHANNELS, student[-1][1])
        deepest = len(student) - 1
        self.fusions = nn.ModuleList(
            _Fusion(own[1], handed, other[1], fuses=place < deepest)
            for place, (own, other) in enumerate(zip(student, teacher, strict=True))
        )

    def forward(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
        """The loss of the layers' activations, in the order of the shapes."""
        if len(student) != len(self.fusions) or len(teacher) != len(self.fusions):
            raise ShapeError(f"review was made for {len(self.fusions)} layers; got {len(student)} and {len(teacher)}")
        handed: Tensor | None = None
        losses = []
        for fusion, own, other in reversed(list(zip(self.fusions, student, teacher, strict=True))):
            require_same_batch("review", own, other)
            fused, handed = fusion(own, handed, other.shape[2:])
            losses.append(hcl(fused, other))
        return torch.stack(losses).sum()


class _Fusion(nn.Module):
    """One layer: its own channels, what comes from the layer above, and what it looks like to the teacher."""

    def __init__(self, own: int, handed: int, out: int, *, fuses: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(own, handed, 1, bias=False), BatchNorm(handed))
        self.leave = nn.Sequential(nn.Conv2d(handed, out, 3, padding=1, bias=False), BatchNorm(out))
        self.attention = nn.Sequential(nn.Conv2d(2 * handed, 2, 1), nn.Sigmoid()) if fuses else None
        for convolution in (self.enter[0], self.leave[0]):
            nn.init.kaiming_uniform_(cast(Tensor, convolution.weight), a=1)

    def forward(self, own: Tensor, above: Tensor | None, size: torch.Size) -> tuple[Tensor, Tensor]:
        """In the teacher's shape, and what is handed on."""
        values: Tensor = self.enter(own)
        if self.attention is not None and above is not None:
            above = F.interpolate(above, size=tuple(values.shape[2:]), mode="nearest")
            share = self.attention(torch.cat([values, above], dim=1))
            values = values * share[:, :1] + above * share[:, 1:]
        seen = values
        if values.shape[2:] != size:
            seen = F.interpolate(values, size=tuple(size), mode="nearest")
        return self.leave(seen), values
