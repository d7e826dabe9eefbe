"""The loss between softened outputs."""

from __future__ import annotations

from torch import Tensor

from layerlink.losses.shapes import ShapeError, at_least_float32, require_classes, require_equal_shapes


def soft_cross_entropy(
    student: Tensor, teacher: Tensor, *, temperature: float, t_squared: bool = True, entropy: bool = True
) -> Tensor:
    """How far the student's softened output is from the teacher's, mean over the batch.

    With ``p = softmax(z / T)``: ``T^2 * sum_c p_t log(p_t / p_s)``. ``entropy=False`` leaves out the teacher's
    own entropy ``sum_c p_t log p_t`` (cross-entropy in place of the KL divergence): the same gradient, but a
    value that is not 0 for equal outputs.

    Args:
        student: (N, C) logits.
        teacher: (N, C) logits.
        temperature: T > 0, the divisor of both.
        t_squared: multiply by T^2, so that the gradient's size does not depend on T.
        entropy: subtract the teacher's entropy, giving the KL divergence.

    Returns:
        Scalar in nats (times T^2), float32 or the logits' dtype where that is wider, >= 0 up to rounding: in float32
        it is off by at most about 1e-6 (1 + largest ``|z| / T``), times T^2. The gradient does not suffer so.

    Raises:
        ShapeError: where the shapes differ, are not (N, C) with C >= 2, or there is nothing in them.

    Source: Hinton, Vinyals & Dean 2015 (arXiv 1503.02531), section 2; T^2 from section 2.1.

    >>> import torch
    >>> z = torch.tensor([[2.0, 0.0, -2.0]])
    >>> soft_cross_entropy(z, z, temperature=4.0)
    tensor(0.)
    """
    teacher = teacher.detach()
    require_equal_shapes("soft loss", student, teacher)
    if student.ndim != 2:
        raise ShapeError(f"soft loss needs logits (N, C); got {tuple(student.shape)}")
    require_classes("soft loss", student)
    loss = divergences(student, teacher, temperature=temperature, entropy=entropy).mean()
    return loss * temperature**2 if t_squared else loss


def divergences(
    student: Tensor, teacher: Tensor, *, temperature: float, entropy: bool = True, axis: int = -1
) -> Tensor:
    """Of every row of logits, ``sum_c p_t log(p_t / p_s)`` with ``p = softmax(z / T)`` over the classes.

    Args:
        student: (..., C).
        teacher: (..., C).
        temperature: T > 0.
        entropy: subtract the teacher's entropy, giving the KL divergence.
        axis: where the classes stand, such as 1 in maps (N, C, H, W).

    Returns:
        (...), the shape without the classes, float32 or wider.
    """
    teacher = teacher.detach()
    log_student = (at_least_float32(student) / temperature).log_softmax(dim=axis)
    log_teacher = (at_least_float32(teacher) / temperature).log_softmax(dim=axis)
    # Written out: p_t is exactly 0 where log p_t is very negative, and 0 * finite stays 0. The logarithms are
    # finite for finite logits, so no clamp hides anything.
    reference = log_teacher - log_student if entropy else -log_student
    return (log_teacher.exp() * reference).sum(dim=axis)
