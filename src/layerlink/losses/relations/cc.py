"""Correlation congruence: how the examples of a batch go together, after an embedding of each side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.relations.gram import gram
from layerlink.losses.shapes import embedded, require_same_batch, require_sizes, unit


class CC(nn.Module):
    """Mean over neighbours in the batch of ``sum_k d_ik d_(i+1)k`` with ``d = |e_s - e_t|``, e trained linear maps.

    Args:
        student: shape (N, ...) of the student's activation, flattened.
        teacher: of the teacher's; everything but the batch may differ.
        dim: numbers that each side is mapped to, >= 1.
        form: "neighbours" as above, of each example and the next one; "gaussian": the mean over all N^2 pairs of
            ``(K_s - K_t)^2``, where K is the Taylor series of the Gaussian kernel ``exp(-gamma |e_i - e_j|^2)`` of
            embeddings of length 1.
        gamma: of the kernel, > 0.
        order: of the series, >= 1.

    ``forward`` gives a scalar, float32 or wider, >= 0: 0 where the embeddings are equal, "gaussian" where their
    cosines are. The embeddings of both sides are trained, so equal activations alone do not give 0. "neighbours" goes
    by the order of the batch, and is 0 of one example.

    Source: Peng et al. 2019 (arXiv 1904.01802), section 3: "gaussian", its order 2 and gamma 0.4.
    Differs: "neighbours", the default, is what code in use computes under this name.
    Weight: 0.02, at the pooled feature; 0.003 with "gaussian".
    When: batches are shuffled and features are pooled; ``rkd`` and ``sp`` say more of a batch without parameters.
    Cost: N D dim time, D dim parameters a side.
    """

    def __init__(
        self,
        student: Sequence[int],
        teacher: Sequence[int],
        *,
        dim: int = 128,
        form: Literal["neighbours", "gaussian"] = "neighbours",
        gamma: float = 0.4,
        order: int = 2,
    ) -> None:
        super().__init__()
        require_sizes("cc", student, teacher)
        if dim < 1 or not gamma > 0 or order < 1 or form not in ("neighbours", "gaussian"):
            raise UsageError(
                "cc: dim and order must be >= 1, gamma > 0, form 'neighbours' or 'gaussian'; got "
                f"{dim}, {order}, {gamma:g}, {form!r}"
            )
        self.form, self.gamma, self.order = form, gamma, order
        self.embed_student, self.embed_teacher = (nn.Linear(math.prod(shape[1:]), dim) for shape in (student, teacher))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of a batch (N, ...), in the order of its examples."""
        require_same_batch("cc", student, teacher)
        own = embedded(self.embed_student, student.flatten(1))
        other = embedded(self.embed_teacher, teacher.detach().flatten(1))
        if self.form == "gaussian":
            return (self._kernel(own) - self._kernel(other)).square().mean()
        apart = (own - other).abs()
        return (apart[:-1] * apart[1:]).sum() / max(len(apart) - 1, 1)

    def _kernel(self, embeddings: Tensor) -> Tensor:
        """(N, N)."""
        # |a - b|^2 = 2 - 2 a.b of lengths of 1: exp(-2 gamma) times the series of exp(2 gamma a.b).
        near = 2 * self.gamma * gram(unit(embeddings, 1))
        term = series = near.new_ones(near.shape)
        for power in range(1, self.order + 1):
            term = term * near / power
            series = series + term
        return math.exp(-2 * self.gamma) * series
