"""One-for-all: a teacher of another architecture, through logits of the student's own stages."""

from __future__ import annotations

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.targets.classes import require_labelled


def ofa(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    exponent: float = 1.0,
    temperature: float = 1.0,
    standardise: bool = False,
) -> Tensor:
    """``-sum_c ((p_t + 1_y)^e - 1_y) log p_s`` with ``p = softmax(z / T)``, mean over the batch.

    Args:
        student: logits (N, C), C >= 2, any floating dtype: of the output, or of a stage through ``adapter=head``.
        teacher: the same shape.
        labels: (N,) int64 in 0..C-1.
        exponent: e >= 1: the larger, the more the label counts where the teacher is unsure.
        temperature: T > 0.
        standardise: compare standardised logits, see ``standardise``.

    Returns:
        Scalar in nats, float32 or wider; a cross-entropy, not 0 for equal outputs.

    Raises:
        ShapeError: where logits or labels do not fit.
        UsageError: for an impossible option.

    Source: Hao et al. 2023 (arXiv 2310.19444), eq. 6.
    Weight: 1 a stage and 1 at the output, beside 1 of the labels; e 1 on CIFAR, 1.5 on ImageNet; T 1.
    When: teacher and student are of different families (CNN, transformer, MLP), whose layers do not compare.
    Cost: that of two softmaxes, and a small head a stage.
    Differs: logarithms are of the log-softmax, which stays finite at any gap.
    """
    teacher = teacher.detach()
    target = require_labelled("ofa", student, teacher, labels)
    if not (exponent >= 1 and temperature > 0):
        raise UsageError(f"ofa: exponent must be >= 1 and temperature > 0; got {exponent:g}, {temperature:g}")
    own, other = (comparable(side, standardise) / temperature for side in (student, teacher))
    label = target.to(own.dtype)
    wanted = (other.softmax(1) + label).pow(exponent) - label
    return -(wanted * own.log_softmax(1)).sum(1).mean()
