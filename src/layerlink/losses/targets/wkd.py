"""Wasserstein distance between outputs: what it costs to move probability between classes that are unlike."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.heads import weight_of
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.shapes import ShapeError, at_least_float32, own_digits, unit
from layerlink.losses.targets.classes import picked, require_labelled

LEAST = -60.0  # of the logarithm of a probability that is moved: less is nothing in any dtype


def wkd(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    teacher_head: nn.Module,
    gamma: float = 600.0,
    temperature: float = 8.0,
    regularisation: float = 0.05,
    iterations: int = 10,
    standardise: bool = False,
) -> Tensor:
    """``-p_t[y] log p_s[y] + gamma * W(q_t, q_s)``, mean over the batch.

    W is the Sinkhorn distance between the softmaxes over the classes that are not the label, at T; to move from class
    to class costs ``1 - exp(c - 1)``, with c the squared correlation of the two rows of the teacher's classifier.

    Args:
        student: logits (N, C), C >= 3, any floating dtype.
        teacher: the same shape.
        labels: (N,) int64 in 0..C-1.
        teacher_head: the teacher's classifier, one linear layer (C, D) or 1x1 convolution.
        gamma: weight of W, >= 0.
        temperature: T > 0 of q.
        regularisation: of the entropy of what is moved, > 0.
        iterations: of Sinkhorn's, >= 1; the marginals hold the nearer, the more.
        standardise: let W compare standardised logits, see ``standardise``.

    Returns:
        Scalar, float32 or wider; not 0 for equal outputs: a cross-entropy and the regularisation's own cost.

    Raises:
        ShapeError: where logits, labels or classifier do not fit.
        UsageError: for an impossible option.

    Source: Lv, Yang & Li 2024 (arXiv 2412.08139), eq. 3 to 6 (WKD-L).
    Weight: 1 beside 1 of the labels (gamma 600 alone, 200 with links; T 8), falling by a cosine after epoch 150 of 240.
    When: classes are many and alike, and the teacher's classifier is at hand.
    Cost: memory N C^2, and 2 C^2 a step of Sinkhorn's.
    Differs: probabilities below e^-60 are moved as that.
    """
    teacher = teacher.detach()
    target = require_labelled("wkd", student, teacher, labels)
    count = student.shape[1]
    weight = weight_of("wkd", teacher_head)
    if count < 3 or len(weight) != count:
        raise ShapeError(
            f"wkd needs logits of 3 classes or more and a classifier of as many; got {count} and {tuple(weight.shape)}"
        )
    if not (gamma >= 0 and temperature > 0 and regularisation > 0 and iterations >= 1):
        raise UsageError(
            f"wkd: gamma must be >= 0, temperature and regularisation > 0, iterations >= 1; got {gamma:g}, "
            f"{temperature:g}, {regularisation:g}, {iterations}"
        )
    own, other = (at_least_float32(side) for side in (student, teacher))
    of_label = picked(other.log_softmax(1), target).exp() * picked(own.log_softmax(1), target)
    order = torch.arange(count - 1, device=labels.device)[None]
    kept = order + (order >= labels[:, None]).long()  # (N, C - 1): the classes that are not the label
    q_s, q_t = (
        (comparable(side, standardise).gather(1, kept) / temperature).log_softmax(1).clamp_min(LEAST)
        for side in (own, other)
    )
    cost = _costs(weight.detach().to(own.dtype))[kept[:, :, None], kept[:, None, :]]
    return -of_label.mean() + gamma * _moved(q_t, q_s, cost, regularisation, iterations).mean()


def _costs(weight: Tensor) -> Tensor:
    """(C, C), from the squared correlation of the classifier's rows; 0 from a class to itself."""
    rows = unit(weight - weight.mean(1, keepdim=True), 1)
    with own_digits(rows):
        alike = (rows @ rows.T).square().clamp(max=1)
    return -torch.expm1(alike.fill_diagonal_(1.0) - 1)


def _moved(log_from: Tensor, log_to: Tensor, cost: Tensor, regularisation: float, iterations: int) -> Tensor:
    """What it costs to move one distribution into the other, by Sinkhorn's iterations on logarithms: (N,)."""
    kernel = -cost / regularisation
    to = torch.full_like(log_to, -math.log(log_to.shape[1]))
    for _ in range(iterations):
        start = log_from - (kernel + to[:, None, :]).logsumexp(2)
        to = log_to - (kernel + start[:, :, None]).logsumexp(1)
    plan = (start[:, :, None] + kernel + to[:, None, :]).exp()
    return (plan * cost).sum((1, 2))
