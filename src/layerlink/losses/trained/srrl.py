"""Softmax regression representation learning: features that the teacher's classifier reads as it reads its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.heads import frozen_logits
from layerlink.losses.shapes import ShapeError, alike, at_least_float32, require_same_batch
from layerlink.losses.trained.layers import ConvNorm, as_maps


class SRRL(nn.Module):
    """``mse(h_s, h_t) + r mse(W h_s, W h_t)``: h are pooled features, W is the teacher's classifier.

    The student's go through a 1x1 convolution with batch norm and ReLU, which is trained, before the pooling.

    Args:
        student: shape of the student's last map (N, C, H, W), or of its pooled feature (N, C).
        teacher: of the teacher's, (N, D, H', W') or (N, D).
        regression: r, the weight of the second term, >= 0.

    ``forward`` takes ``teacher_head``, which no gradient reaches, and gives a scalar, float32 or wider, >= 0; it is
    not 0 for equal activations.

    Source: Yang et al. 2021 (ICLR 2021, "Knowledge Distillation via Softmax Regression Representation Learning"),
        section 3.
    Differs: between logits the mean squared error that the authors' code takes; the paper gives the cross-entropy, too.
    Weight: 1, regression 1.
    When: the last map of classifiers; the teacher's head is at hand.
    Cost: a 1x1 convolution to the teacher's channels.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int], *, regression: float = 1.0) -> None:
        super().__init__()
        if any(len(shape) not in (2, 4) for shape in (student, teacher)) or not min(*student, *teacher):
            raise ShapeError(
                f"srrl needs (N, C, H, W) or (N, C) on both sides; student gives {tuple(student)}, teacher "
                f"{tuple(teacher)}"
            )
        if not regression >= 0:
            raise UsageError(f"srrl: regression must be >= 0; got {regression:g}")
        self.regression = regression
        self.regressor = ConvNorm(student[1], teacher[1], relu=True)

    def forward(self, student: Tensor, teacher: Tensor, *, teacher_head: nn.Module) -> Tensor:
        """The loss of two activations with the shapes it was made for; any batch size."""
        require_same_batch("srrl", student, teacher)
        own = at_least_float32(self.regressor(as_maps(student))).mean((2, 3))
        other = as_maps(at_least_float32(teacher.detach())).mean((2, 3))
        logits = [frozen_logits("srrl", teacher_head, features) for features in (own, other)]
        return F.mse_loss(*alike(own, other)) + self.regression * F.mse_loss(*alike(*logits))
