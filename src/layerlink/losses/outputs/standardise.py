"""Logit standardisation: what the outputs of a weak and of a strong network are compared by."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.losses.shapes import at_least_float32, require_classes

EPSILON = 1e-7


def standardise(logits: Tensor, *, axis: int = 1) -> Tensor:
    """Every row of logits minus its mean, divided by its standard deviation (n - 1) plus 1e-7.

    Most losses of outputs do it to both sides where ``standardise=True``: a student need not reach the range of the
    teacher's logits, only their relations.

    Args:
        logits: (N, C), or with the classes at ``axis``; C >= 2, any floating dtype.
        axis: where the classes stand: 1 in (N, C) and maps (N, C, H, W), 2 in tokens (N, L, C).

    Returns:
        The same shape, float32 or wider; all 0 for a row of equal logits, without a gradient there.

    Raises:
        ShapeError: for fewer than two classes.

    Source: Sun et al. 2024 (arXiv 2403.01427), eq. 9.
    Weight: 9 beside 0.1 of the labels with ``kd`` (T 2, for vgg13 -> vgg8 T 3).

    >>> import torch
    >>> standardise(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[-1.0000,  0.0000,  1.0000]])
    """
    require_classes("standardise", logits)
    values = at_least_float32(logits)
    values = values - values.mean(axis, keepdim=True)
    variance = values.square().sum(axis, keepdim=True) / (values.shape[axis] - 1)
    varies = variance > 0  # the slope of a root at 0 is infinite
    deviation = torch.where(varies, torch.where(varies, variance, torch.ones_like(variance)).sqrt(), variance)
    return values / (deviation + EPSILON)


def comparable(logits: Tensor, standardised: bool, *, axis: int = 1) -> Tensor:
    """What a loss of outputs compares: the logits, or what ``standardise`` makes of them; float32 or wider."""
    return standardise(logits, axis=axis) if standardised else at_least_float32(logits)
