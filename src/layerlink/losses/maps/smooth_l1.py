"""Smooth mean absolute difference between two activations."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.masking import cleared, mean_of, positions
from layerlink.losses.shapes import alike, require_equal_shapes


def smooth_l1(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None, beta: float = 1.0) -> Tensor:
    """Mean over all elements of ``d^2 / (2 beta)`` where ``d = |student - teacher| < beta``, else ``d - beta / 2``.

    Args:
        student: activation of any shape, any floating dtype.
        teacher: activation of the same shape. Shapes are never broadcast.
        mask: bool, the positions that count, as in ``Context``; the mean is over these.
        beta: where squares end, > 0, in units of the activations.

    Returns:
        Scalar, float32 (float64 where an input is), >= 0; 0 for equal activations.

    Raises:
        ShapeError: where the shapes differ, or there is nothing in them.
        UsageError: for an impossible beta.

    Source: Girshick 2015 (Fast R-CNN, arXiv 1504.08083), eq. 3.
    Weight: none is usual.
    When: a few large activations would rule a mean of squares.
    Cost: one pass over both activations.

    >>> import torch
    >>> smooth_l1(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 4.0]))
    tensor(0.8125)
    """
    teacher = teacher.detach()
    require_equal_shapes("smooth_l1", student, teacher)
    if not beta > 0:
        raise UsageError(f"smooth_l1: beta must be > 0; got {beta:g}")
    own, other = alike(*(cleared("smooth_l1", side, mask) for side in (student, teacher)))
    apart = F.smooth_l1_loss(own, other, reduction="none", beta=beta)
    return mean_of(apart, None if mask is None else positions("smooth_l1", mask, student))
