"""Activation boundaries: which neurons fire, told before the ReLU."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.shapes import at_least_float32, require_equal_shapes, require_same_batch


def ab(student: Tensor, teacher: Tensor, *, margin: float = 1.0, factor: float = 0.003) -> Tensor:
    """``factor / N`` times the sum of ``(m - y s)^2`` where ``y s < m``: y is 1 where t > 0, else -1, and m the margin.

    Both are read before the ReLU: y is whether the teacher's neuron fires.

    Args:
        student: activation (N, ...) before a ReLU, any floating dtype.
        teacher: the same shape.
        margin: m > 0, in units of the activations: how far from 0 the student's are to be.
        factor: of the sum, > 0.

    Returns:
        Scalar, float32 or wider, >= 0; 0 where all of the student's have the teacher's signs and are m or further from
        0. Not 0 for equal activations nearer to it.

    Raises:
        ShapeError: where the shapes differ, or there is nothing in them.
        UsageError: for an impossible option.

    Source: Heo et al. 2019 (AAAI 2019, arXiv 1811.03233), section 3.
    Differs: the factor is that of code in use, which the paper's equation lacks; its 1x1 convolution with batch norm is
        an adapter here.
    Weight: 1 at the deepest link, half as much at each one before; alone for the first 30 epochs, then labels alone.
    When: a first stage before the training with labels, over ReLU networks.
    Cost: one pass over both activations.

    >>> import torch
    >>> float(ab(torch.tensor([[0.5, -3.0]]), torch.tensor([[2.0, -1.0]]), factor=1.0))
    0.25
    """
    teacher = teacher.detach()
    require_equal_shapes("ab", student, teacher)
    require_same_batch("ab", student, teacher)
    if not margin > 0 or not factor > 0:
        raise UsageError(f"ab: margin and factor must be > 0; got {margin:g} and {factor:g}")
    own = at_least_float32(student)
    short = torch.where(teacher > 0, margin - own, own + margin).clamp_min(0)
    return factor * short.square().sum() / len(student)
