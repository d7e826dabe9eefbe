"""Distillation with the teacher's classifier: the student's last map becomes the teacher's."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.shapes import ShapeError, alike, at_least_float32, require_maps, to_smaller_map
from layerlink.losses.trained.layers import ConvNorm


class SimKD(nn.Module):
    """Mean over all elements of ``(P f_s - f_t)^2``: P is a trained projector, which the student keeps.

    P is three convolutions, 1x1, 3x3 and 1x1, each with batch norm and ReLU, narrowed between to the teacher's channels
    over ``factor``.

    The student's own classifier learns nothing by it. What is used afterwards is the student up to this map, P, average
    pooling and the teacher's classifier. The model ``simkd`` is that student, and the recipe ``methods/simkd`` trains
    it by ``mse``; this loss is for a loop of one's own, where ``projector`` is P.

    Args:
        student: shape (N, C, H, W) of the student's last map before pooling.
        teacher: of the teacher's, (N, D, H', W'). The larger map is average-pooled to the smaller one.
        factor: >= 1; 2, 4 and 8 are the authors'.

    ``forward`` gives a scalar, float32 or wider, in squared units of the activations, >= 0; it is not 0 for equal maps.

    Source: Chen et al. 2022 (CVPR 2022, arXiv 2203.14001), section 3.
    Weight: 1, alone: without labels (hard 0) and softened outputs.
    When: classifiers of one image size, where P may stay in the student.
    Cost: P, which stays in the student: C D / factor + 9 (D / factor)^2 + D^2 / factor parameters.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int], *, factor: int = 2) -> None:
        super().__init__()
        if len(student) != 4 or len(teacher) != 4 or not min(*student, *teacher):
            raise ShapeError(f"simkd needs maps (N, C, H, W); student gives {tuple(student)}, teacher {tuple(teacher)}")
        own, other = student[1], teacher[1]
        self.projector = projector(own, other, factor)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of two maps with the shapes it was made for; any batch size."""
        require_maps("simkd", student, teacher)
        own, other = to_smaller_map(student, at_least_float32(teacher.detach()))
        return F.mse_loss(*alike(self.projector(own), other))


def projector(own: int, other: int, factor: int) -> nn.Sequential:
    """From the student's channels to the teacher's: convolutions 1x1, 3x3 and 1x1, narrowed between by ``factor``."""
    if factor < 1:
        raise UsageError(f"simkd: factor must be >= 1; got {factor}")
    narrow = max(1, other // factor)
    return nn.Sequential(
        ConvNorm(own, narrow, relu=True),
        ConvNorm(narrow, narrow, size=3, relu=True),
        ConvNorm(narrow, other, relu=True),
    )
