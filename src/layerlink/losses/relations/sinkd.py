"""Sinkhorn distance between the softened outputs of a batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.shapes import ShapeError, own_digits, require_classes, require_equal_shapes


def sinkd(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 2.0,
    epsilon: float = 0.1,
    iterations: int = 20,
    reduction: Literal["sum", "mean"] = "sum",
    standardise: bool = False,
) -> Tensor:
    """``sum_ij P_ij W_ij``: W is the L1 distance of ``softmax(z / T)`` of example i and j, P the plan of transport.

    P is ``exp(-W / epsilon)``, rows then columns brought to sum 1, ``iterations`` times. Gradients go through P.

    Args:
        student: (N, C) logits, C >= 2, any floating dtype.
        teacher: (N, C) logits.
        temperature: T > 0.
        epsilon: of the entropy that smooths the plan, > 0, in units of W, which is 0..2.
        iterations: >= 1.
        reduction: "sum" over the batch, or "mean": divided by N.
        standardise: compare standardised logits, see ``standardise``.

    Returns:
        Scalar, float32 or wider, >= 0, at most 2 N. Not 0 for equal outputs but what the smoothed plan carries between
        different examples; 0 for equal outputs where N = 1 or all examples are alike, and it tends to 0 with epsilon.

    Raises:
        ShapeError: where the shapes differ or are no logits.
        UsageError: for an impossible option.

    Source: Cui et al. 2024 (SinKD, arXiv 2402.17110), the batch-wise form.
    Differs: computed with logarithms, so that no epsilon gives 0 / 0. "sum" is what code in use has.
    Weight: 0.0008, beside kd and the labels ("sum").
    When: kd's outputs hardly overlap; few classes and batches of some dozens.
    Cost: N^2 (C + iterations) time, N^2 iterations memory.
    """
    require_equal_shapes("sinkd", student, teacher)
    if student.ndim != 2:
        raise ShapeError(f"sinkd needs logits (N, C); got {tuple(student.shape)}")
    require_classes("sinkd", student)
    if not (temperature > 0 and epsilon > 0) or iterations < 1 or reduction not in ("sum", "mean"):
        raise UsageError(
            "sinkd: temperature and epsilon must be > 0, iterations >= 1, reduction 'sum' or 'mean'; got "
            f"{temperature:g}, {epsilon:g}, {iterations}, {reduction!r}"
        )
    own, other = ((comparable(side, standardise) / temperature).softmax(1) for side in (student, teacher.detach()))
    with own_digits(own):
        apart = torch.cdist(own, other.to(own.dtype), p=1)
    plan = -apart / epsilon
    for _ in range(iterations):
        plan = plan - plan.logsumexp(1, keepdim=True)
        plan = plan - plan.logsumexp(0, keepdim=True)
    carried = (plan.exp() * apart).sum()
    return carried if reduction == "sum" else carried / len(student)
