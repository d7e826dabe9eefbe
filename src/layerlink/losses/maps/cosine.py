"""How far two activations point apart, position by position."""

from __future__ import annotations

from torch import Tensor

from layerlink.losses.masking import channel_axis, cleared, mean_of
from layerlink.losses.shapes import ShapeError, at_least_float32, require_equal_shapes, unit


def cosine(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean over examples and positions of ``1 - cos(student, teacher)``, the angle being over channels.

    Args:
        student: (N, C), tokens (N, L, D) or maps (N, C, H, W), any floating dtype.
        teacher: the same shape.
        mask: bool, the positions that count, as in ``Context``; the mean is over these.

    Returns:
        Scalar in 0..2, float32 or wider; 0 for equal directions, 1 where one side is 0. The activations' scale does not
        matter.

    Raises:
        ShapeError: where the shapes differ or have no channels, or there is nothing in them.

    Source: Sanh et al. 2019 (DistilBERT, arXiv 1910.01108), section 3, "cosine embedding loss".
    Weight: 1.
    When: directions count and lengths do not, as between hidden states of transformers.
    Cost: one pass over both activations.

    >>> import torch
    >>> cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    tensor(1.)
    """
    teacher = teacher.detach()
    require_equal_shapes("cosine", student, teacher)
    if student.ndim < 2:
        raise ShapeError(f"cosine needs activations (N, C, ...); got {tuple(student.shape)}")
    axis = channel_axis(student)
    first, second = (unit(at_least_float32(cleared("cosine", side, mask)), axis) for side in (student, teacher))
    apart = 1 - (first * second).sum(axis)
    return mean_of(apart if mask is None else apart * mask, mask)
