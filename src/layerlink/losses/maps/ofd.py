"""Overhaul of feature distillation: values before the ReLU, those of silent neurons no further than a margin."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.masking import channel_axis
from layerlink.losses.shapes import ShapeError, at_least_float32, require_equal_shapes, require_same_batch


def ofd(student: Tensor, teacher: Tensor, *, margin: Tensor | None = None) -> Tensor:
    """``1 / N`` times the sum over all elements of ``(s - t')^2`` where s > t' or t' > 0: t' is the larger of t and m.

    Both are read before the ReLU; m < 0 is a margin for every channel, the mean of the teacher's negative values in it.

    Args:
        student: (N, C), tokens (N, L, C) or maps (N, C, H, W) before a ReLU, any floating dtype.
        teacher: the same shape.
        margin: (C,), of every channel; None takes the means over this batch. ``batch_norm_margin`` gives the authors'.

    Returns:
        Scalar, float32 or wider, in squared units of the activations, >= 0; 0 for equal ones.

    Raises:
        ShapeError: where the shapes differ, or are without channels, or the margin is not of them.
        UsageError: where the margin is no tensor.

    Source: Heo et al. 2019 (ICCV 2019, arXiv 1904.01866), section 3.
    Differs: the margin is the mean that the paper defines, of the batch; code in use derives it from the teacher's
        batch
        norm as if its output were Gaussian. The 1x1 convolution with batch norm is ``adapter=conv1x1(norm=True)``.
    Weight: 0.001 at the deepest link, half as much at each one before.
    When: ReLU networks whose layers can be read before the ReLU, as those after a batch norm can.
    Cost: one pass over both activations.

    >>> import torch
    >>> f = torch.randn(2, 3, 4, 4)
    >>> float(ofd(f, f))
    0.0
    """
    require_equal_shapes("ofd", student, teacher)
    require_same_batch("ofd", student, teacher)
    if student.ndim not in (2, 3, 4):
        raise ShapeError(f"ofd needs (N, C), (N, L, C) or (N, C, H, W); got {tuple(student.shape)}")
    axis = channel_axis(student)
    own, other = (at_least_float32(side).movedim(axis, -1) for side in (student, teacher.detach()))
    least = _silent_mean(other) if margin is None else _checked(margin, other)
    target = torch.maximum(other, least)
    counts = (own > target) | (target > 0)
    return torch.where(counts, own - target, torch.zeros_like(own)).square().sum() / len(student)


def batch_norm_margin(norm: nn.Module) -> Tensor:
    """The mean of what a batch norm gives below 0, if that is Gaussian: ``b - w phi(b / w) / Phi(-b / w)`` a channel.

    b is the bias and w the size of the weight, phi the density and Phi the distribution of a standard Gaussian.

    Args:
        norm: the teacher's last layer before the ReLU.

    Returns:
        (C,), < 0; ``-3 w`` where less than one value in a thousand is below 0.

    Raises:
        UsageError: where it has no weight and bias.

    For a link pass ``functools.partial(ofd, margin=batch_norm_margin(teacher.layer4.bn))`` as its loss.
    """
    weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
    if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
        raise UsageError(f"batch_norm_margin needs a batch norm with weight and bias; got {type(norm).__name__}")
    mean, sd = bias.detach().double(), weight.detach().double().abs().clamp_min(1e-12)
    ratio = mean / sd
    below = torch.special.ndtr(-ratio)
    density = (-ratio.square() / 2).exp() / (2 * math.pi) ** 0.5
    usual = mean - sd * density / below.clamp_min(1e-3)
    return torch.where(below > 1e-3, usual, -3 * sd).to(bias.dtype)


def _silent_mean(values: Tensor) -> Tensor:
    """Of values (..., C), of every channel the mean of what is below 0; 0 where nothing is."""
    below = values.clamp_max(0).flatten(0, -2)
    return below.sum(0) / (below < 0).sum(0).clamp_min(1)


def _checked(margin: Tensor, values: Tensor) -> Tensor:
    if not isinstance(margin, Tensor):
        raise UsageError(f"ofd: margin must be a tensor (C,); got {margin!r}")
    if margin.shape != values.shape[-1:]:
        raise ShapeError(f"ofd needs a margin ({values.shape[-1]},); got {tuple(margin.shape)}")
    return margin.detach().to(values)
