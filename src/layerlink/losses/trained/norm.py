"""N-to-one representation matching: several views of the student's map, each taught by the teacher's."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.shapes import ShapeError, at_least_float32, require_maps
from layerlink.losses.trained.layers import ConvNorm


class NORM(nn.Module):
    """The sum over n of the mean over all elements of ``(e_n(f_s) - f_t)^2``: e makes several maps of the student's.

    e is a 1x1 convolution with batch norm to ``repeats`` times the teacher's channels, cut into that many maps.

    Args:
        student: shape (N, C, H, W) of the student's last map before pooling.
        teacher: of the teacher's, (N, D, H', W'): max-pooled where it is larger; where it is smaller, the student's
            map is average-pooled.
        repeats: how many maps, >= 1.

    ``forward`` gives a scalar, float32 or wider, in squared units of the activations, >= 0; it is not 0 for equal maps.

    Source: Liu et al. 2023 (ICLR 2023, arXiv 2305.13803), section 3.
    Differs: the paper puts a second 1x1 convolution back to the student's channels after e and keeps both in the
        student, merged into one at inference. Here e belongs to the loss, and the student stays as it is: for the
        paper's student, write the pair into the model, link its middle to the teacher's map, and use ``mse``.
    Weight: 1, beside 0.1 of the labels, with 4 to 8 repeats.
    When: the last map of networks of like depth.
    Cost: a 1x1 convolution to ``repeats`` times the teacher's channels.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int], *, repeats: int = 8) -> None:
        super().__init__()
        if len(student) != 4 or len(teacher) != 4 or not min(*student, *teacher):
            raise ShapeError(f"norm needs maps (N, C, H, W); student gives {tuple(student)}, teacher {tuple(teacher)}")
        if repeats < 1:
            raise UsageError(f"norm: repeats must be >= 1; got {repeats}")
        self.repeats = repeats
        self.expand = ConvNorm(student[1], repeats * teacher[1])

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of two maps with the shapes it was made for; any batch size."""
        require_maps("norm", student, teacher)
        size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
        views = at_least_float32(self.expand(F.adaptive_avg_pool2d(student, size)))
        other = F.adaptive_max_pool2d(at_least_float32(teacher.detach()), size)
        apart = views.reshape(len(views), self.repeats, *other.shape[1:]) - other[:, None]
        return self.repeats * apart.square().mean()
