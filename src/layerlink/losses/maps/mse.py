"""Mean squared error between two activations: the study's link loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from layerlink.losses.maps.squared_error import MeanSquaredError
from layerlink.losses.masking import cleared, mean_of, positions
from layerlink.losses.shapes import alike, at_least_float32, require_equal_shapes

_HALVES = (torch.bfloat16, torch.float16)


def mse(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean over all elements of ``(student - teacher)^2``.

    Args:
        student: activation of any shape, any floating dtype.
        teacher: activation of the same shape. Shapes are never broadcast.
        mask: bool, the positions that count, as in ``Context``; the mean is over these.

    Returns:
        Scalar, float32 (float64 where an input is), in squared units of the activations, >= 0.

    Raises:
        ShapeError: where the shapes differ, or there is nothing in them.

    Source: Romero et al. 2015 (FitNets, arXiv 1412.6550), eq. 3, without the regressor.
    Differs: the mean over all elements in place of half the sum, so that a weight means the same at every
    batch size and resolution.
    Weight: 100, after a regressor: ``adapter=conv1x1(norm=True)``.
    When: the first thing to try between layers.
    Cost: one pass over both activations.

    >>> import torch
    >>> mse(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]))
    tensor(2.5000)
    """
    teacher = teacher.detach()
    require_equal_shapes("mse", student, teacher)
    if mask is not None:
        student, teacher = (at_least_float32(cleared("mse", side, mask)) for side in (student, teacher))
        return mean_of((student - teacher).square(), positions("mse", mask, student))
    if student.dtype in _HALVES and teacher.dtype in _HALVES:
        loss: Tensor = MeanSquaredError.apply(student, teacher)  # type: ignore[no-untyped-call]
        return loss
    return F.mse_loss(*alike(student, teacher))
