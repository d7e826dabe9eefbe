"""Information-theoretic representation distillation: correlation of each feature, and entropies of the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.relations.gram import flat, gram
from layerlink.losses.shapes import embedded, require_same_batch, require_sizes, unit

LEAST_DEVIATION = 1e-5
EPSILON = 1e-7


class ITRD(nn.Module):
    """``correlation * log2 sum_k |c_k - 1|^(2 alpha) + mutual * (|G_s|^2 - |G_st|^2)``, both of a batch of N.

    With e the student's features through a trained linear map to the teacher's width, ``c_k`` is the sum over the
    batch of ``e_k t_k / N``, both with mean 0 and deviation 1 over the batch. ``G_s`` are cosines between the
    student's examples, ``G_st`` their products with the teacher's, each divided by its trace.

    Args:
        student: shape (N, ...) of the student's activation, flattened.
        teacher: of the teacher's; everything but the batch may differ.
        correlation: weight of the first part, >= 0.
        mutual: weight of the second part, >= 0; it takes e only where the two widths differ.
        alpha: exponent, > 0.

    ``forward`` gives a scalar in bits, float32 or wider. It is not 0 for equal activations and has no lower bound that
    is the same for all: deviations are those of a sample (N - 1), so that ``c_k <= 1 - 1 / N`` and the first part is at
    least ``log2 D - 2 alpha log2 N``.

    Source: Miles, Rodriguez & Mikolajczyk 2021 (arXiv 2112.00459).
    Differs: deviations are 1e-5 at least, where code in use divides by 0. As there, the second part is without
        logarithms.
    Weight: 1, with correlation 2 and mutual 1, at the pooled feature.
    When: features are pooled and batches large; small batches make c noisy.
    Cost: N D_s D_t time, D_s D_t parameters.
    """

    def __init__(
        self,
        student: Sequence[int],
        teacher: Sequence[int],
        *,
        correlation: float = 2.0,
        mutual: float = 1.0,
        alpha: float = 1.01,
    ) -> None:
        super().__init__()
        require_sizes("itrd", student, teacher)
        if not (correlation >= 0 and mutual >= 0 and alpha > 0 and correlation + mutual > 0):
            raise UsageError(
                "itrd: correlation and mutual must be >= 0 and not both 0, alpha > 0; got "
                f"{correlation:g}, {mutual:g}, {alpha:g}"
            )
        self.correlation, self.mutual, self.alpha = correlation, mutual, alpha
        own, other = (math.prod(shape[1:]) for shape in (student, teacher))
        self.differ = own != other
        self.embed = nn.Linear(own, other) if correlation or self.differ else None

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of a batch (N, ...)."""
        require_same_batch("itrd", student, teacher)
        other = flat(teacher.detach())
        own = flat(student) if self.embed is None else embedded(self.embed, student.flatten(1))
        parts = []
        if self.correlation:
            parts.append(self.correlation * self._correlation(own, other))
        if self.mutual:
            parts.append(self.mutual * _mutual(own if self.differ else flat(student), other))
        return torch.stack(parts).sum()

    def _correlation(self, own: Tensor, other: Tensor) -> Tensor:
        together = (_standardised(own) * _standardised(other)).mean(0)
        least = torch.finfo(together.dtype).tiny  # powers and logarithm of 0
        return (together - 1).square().clamp_min(least).pow(self.alpha).sum().clamp_min(least).log2()


def _standardised(values: Tensor) -> Tensor:
    """Mean 0 and a sample's deviation 1 over the batch; 0 where all are the same."""
    centred = values - values.mean(0)
    variance = centred.square().sum(0) / max(len(values) - 1, 1)
    return centred / variance.clamp_min(LEAST_DEVIATION**2).sqrt()


def _mutual(own: Tensor, other: Tensor) -> Tensor:
    student, teacher = (gram(unit(side, 1)) for side in (own, other))
    both = student * teacher
    student, both = (kernel / kernel.trace().clamp_min(EPSILON) for kernel in (student, both))
    return student.square().sum() - both.square().sum()
