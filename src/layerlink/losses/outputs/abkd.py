"""Alpha-beta divergence: between forward and reverse KL, with two dials."""

from __future__ import annotations

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.masking import channel_axis, cleared, mean_of
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.shapes import ShapeError, require_classes, require_equal_shapes


def abkd(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    alpha: float = 0.8,
    beta: float = 0.3,
    temperature: float = 4.0,
    t_squared: bool = False,
    standardise: bool = False,
) -> Tensor:
    """``sum_c [a p_t^(a+b) + b p_s^(a+b) - (a+b) p_t^a p_s^b] / (a b (a+b))`` at T, mean over the positions.

    alpha = 1 and beta -> 0 is the forward KL divergence, alpha -> 0 and beta = 1 the reverse.

    Args:
        student: logits (N, C), (N, L, C) or (N, C, H, W), C >= 2, any floating dtype.
        teacher: the same shape.
        mask: bool (N,), (N, L) or (N, H, W), the positions that count.
        alpha: a > 0: the larger, the less classes of which the teacher is sure decide alone.
        beta: b > 0: the larger, the more it counts where the student is sure.
        temperature: T > 0.
        t_squared: multiply by T^2.
        standardise: compare standardised logits, see ``standardise``.

    Returns:
        Scalar, float32 or wider, >= 0 up to rounding; 0 for equal outputs.

    Raises:
        ShapeError: where the shapes differ or are no logits.
        UsageError: for an impossible option.

    Source: Wang et al. 2025 (arXiv 2505.04560), eq. 4.
    Weight: 64 beside 1 of the labels (resnet56 -> resnet20: alpha 0.8, beta 0.3, T 4); language models: alpha 0.2,
    beta 0.7, T 1.
    When: kd pulls the student too much to the teacher's mode, or too little.
    Cost: that of two softmaxes.
    Differs: powers are of logarithms, so values and gradients stay finite where a probability is 0 in the dtype.

    >>> import torch
    >>> z = torch.tensor([[2.0, 0.0, -2.0]])
    >>> abs(float(abkd(z, z))) < 1e-6
    True
    """
    teacher = teacher.detach()
    require_equal_shapes("abkd", student, teacher)
    if student.ndim not in (2, 3, 4):
        raise ShapeError(f"abkd needs logits (N, C), (N, L, C) or (N, C, H, W); got {tuple(student.shape)}")
    require_classes("abkd", student)
    if not (alpha > 0 and beta > 0 and temperature > 0):
        raise UsageError(f"abkd: alpha, beta and temperature must be > 0; got {alpha:g}, {beta:g}, {temperature:g}")
    axis, both = channel_axis(student), alpha + beta
    own, other = (
        (comparable(cleared("abkd", side, mask), standardise, axis=axis) / temperature).log_softmax(axis)
        for side in (student, teacher)
    )
    cross = (alpha * other + beta * own).exp()
    rows = ((alpha * (both * other).exp() + beta * (both * own).exp() - both * cross) / (alpha * beta * both)).sum(axis)
    loss = mean_of(rows if mask is None else rows * mask, mask)
    return loss * temperature**2 if t_squared else loss
