"""Inter-channel correlation: which channels of a map go together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from layerlink.losses.relations.gram import flat, gram
from layerlink.losses.shapes import ShapeError, at_least_float32, embedded, require_same_batch, unit
from layerlink.losses.trained.layers import BatchNorm


class ICKD(nn.Module):
    """Mean over examples of ``|G_s - G_t|^2 / C``: G are inner products of channels over positions, rows L2-normalised.

    Where channels differ, the student's map goes through a trained 1x1 convolution without bias and batch norm first.

    Args:
        student: shape (N, C, H, W) of the student's map.
        teacher: (N, D, H', W') of the teacher's; positions may differ.

    ``forward`` gives a scalar, float32 or wider, >= 0; with equal channels it is 0 for equal maps, and their scale
    does not matter.

    Source: Liu et al. 2021 (ICKD, arXiv 2202.03680), the loss for classification.
    Differs: code in use has the convolution in some copies also where channels are equal; here never.
    Weight: 2.5, at the last map.
    When: channels mean more than places, as in the last map of a classifier.
    Cost: N C^2 H W time, N C^2 memory.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int]) -> None:
        super().__init__()
        if len(student) != 4 or len(teacher) != 4 or not min(*student, *teacher):
            raise ShapeError(
                f"ickd needs maps (N, C, H, W) on both sides; student gives {tuple(student)}, teacher {tuple(teacher)}"
            )
        own, other = student[1], teacher[1]
        self.channels = other
        self.embed = None if own == other else nn.Sequential(nn.Conv2d(own, other, 1, bias=False), BatchNorm(other))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of two maps with the channels it was made for; any batch and map size."""
        require_same_batch("ickd", student, teacher)
        own = at_least_float32(student) if self.embed is None else embedded(self.embed, student)
        other = at_least_float32(teacher.detach())
        if own.ndim != 4 or other.ndim != 4 or own.shape[1] != self.channels or other.shape[1] != self.channels:
            raise ShapeError(
                f"ickd was made for {self.channels} channels; student gives {tuple(student.shape)}, teacher "
                f"{tuple(teacher.shape)}"
            )
        apart = _correlations(own) - _correlations(other)
        return flat(apart.square()).sum() / (len(apart) * self.channels)


def _correlations(values: Tensor) -> Tensor:
    """(N, C, C)."""
    return unit(gram(values.flatten(2)), 2)
