"""Mean absolute difference between two activations."""

from __future__ import annotations

from torch import Tensor

from layerlink.losses.masking import cleared, mean_of, positions
from layerlink.losses.shapes import at_least_float32, require_equal_shapes


def l1(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean over all elements of ``|student - teacher|``.

    Args:
        student: activation of any shape, any floating dtype.
        teacher: activation of the same shape. Shapes are never broadcast.
        mask: bool, the positions that count, as in ``Context``; the mean is over these.

    Returns:
        Scalar, float32 (float64 where an input is), in units of the activations, >= 0; 0 for equal ones.

    Raises:
        ShapeError: where the shapes differ, or there is nothing in them.

    Source: Kim et al. 2018 (Factor Transfer, arXiv 1802.04977), eq. 3 with p = 1, without their paraphraser.
    Weight: none is usual.
    When: a few large activations would rule a mean of squares.
    Cost: one pass over both activations.

    >>> import torch
    >>> l1(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]))
    tensor(1.5000)
    """
    teacher = teacher.detach()
    require_equal_shapes("l1", student, teacher)
    student, teacher = (at_least_float32(cleared("l1", side, mask)) for side in (student, teacher))
    return mean_of((student - teacher).abs(), None if mask is None else positions("l1", mask, student))
