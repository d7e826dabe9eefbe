"""Masked generative distillation: from a part of the student's map the whole of the teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.shapes import ShapeError, at_least_float32, require_maps, to_smaller_map


class MGD(nn.Module):
    """``1 / N`` times the sum over all elements of ``(g(M a(f_s)) - f_t)^2``: M drops a random part, g fills it in.

    a is a 1x1 convolution where channels differ, g two 3x3 convolutions with a ReLU between them; both are trained.

    Args:
        student: shape (N, C, H, W) of the student's map.
        teacher: of the teacher's, (N, D, H', W'). The larger map is average-pooled to the smaller one.
        ratio: what part is dropped, 0 <= r < 1.
        where: "channels", as the authors do for classification, or "positions", as they do for detection and
            segmentation (ratio 0.65 and 0.75).

    ``forward`` gives a scalar, float32 or wider, in squared units of the activations, >= 0; it is not 0 for equal maps.
    What is dropped is drawn by torch's generator, in training mode alone; in evaluation nothing is.

    Source: Yang et al. 2022 (ECCV 2022, arXiv 2205.01529), section 3.
    Differs: other code drops positions where the authors drop channels, and takes the mean in place of the sum.
    Weight: 0.00007 with channels and ratio 0.15; 0.00002 with positions.
    When: the last map before pooling.
    Cost: two 3x3 convolutions of the teacher's channels; 18 D^2 parameters.
    """

    def __init__(
        self,
        student: Sequence[int],
        teacher: Sequence[int],
        *,
        ratio: float = 0.15,
        where: Literal["channels", "positions"] = "channels",
    ) -> None:
        super().__init__()
        if len(student) != 4 or len(teacher) != 4 or not min(*student, *teacher):
            raise ShapeError(f"mgd needs maps (N, C, H, W); student gives {tuple(student)}, teacher {tuple(teacher)}")
        if not 0 <= ratio < 1 or where not in ("channels", "positions"):
            raise UsageError(
                f"mgd: ratio must be 0 <= r < 1 and where 'channels' or 'positions'; got {ratio:g} and {where!r}"
            )
        self.ratio, self.where = ratio, where
        own, other = student[1], teacher[1]
        self.align = nn.Conv2d(own, other, 1) if own != other else nn.Identity()
        self.generate = nn.Sequential(
            nn.Conv2d(other, other, 3, padding=1), nn.ReLU(), nn.Conv2d(other, other, 3, padding=1)
        )

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of two maps with the shapes it was made for; any batch size."""
        require_maps("mgd", student, teacher)
        own, other = to_smaller_map(student, at_least_float32(teacher.detach()))
        generated = at_least_float32(self.generate(self._masked(self.align(own))))
        return (generated - other).square().sum() / len(student)

    def _masked(self, values: Tensor) -> Tensor:
        if not self.training or not self.ratio:
            return values
        count, channels, height, width = values.shape
        size = (count, channels, 1, 1) if self.where == "channels" else (count, 1, height, width)
        return values * (torch.rand(size, device=values.device) >= self.ratio)
