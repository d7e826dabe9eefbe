"""Counts of right and wrong answers by class, and what follows: intersection over union, F1, average precision."""

from __future__ import annotations

import torch
from torch import Tensor


def class_counts(answers: Tensor, target: Tensor, kept: Tensor | None, classes: int) -> Tensor:
    """How often every class was right, answered and true in each example: (n, 3 C) float64.

    Args:
        answers: (n, ...) int64 in 0..C-1.
        target: the same shape.
        kept: bool, the same shape; None keeps everything. What is not kept may hold any value.
        classes: C.
    """
    count = len(answers)
    answers, target = answers.reshape(count, -1), target.reshape(count, -1).long()
    kept = torch.ones_like(answers, dtype=torch.bool) if kept is None else kept.reshape(count, -1)
    hits = kept & (answers == target)
    rows = torch.arange(count, device=answers.device)[:, None].expand_as(answers) * classes
    found = [
        torch.bincount((rows + which)[where], minlength=count * classes).view(count, classes)
        for which, where in ((target, hits), (answers, kept), (target, kept))
    ]
    return torch.cat(found, dim=1).double()


def shares_of(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Summed counts (3 C) as right, answered and true of every class."""
    right, answered, true = counts.view(3, -1)
    return right, answered, true


def class_ious(counts: Tensor) -> list[float | None]:
    """Intersection over union of each class in percent; None where it was neither answered nor true.

    >>> class_ious(torch.tensor([1.0, 2.0, 0.0, 2.0, 2.0, 0.0, 2.0, 2.0, 0.0]))
    [33.333..., 100.0, None]
    """
    right, answered, true = shares_of(counts)
    union = answered + true - right
    return [100 * float(r / u) if float(u) else None for r, u in zip(right, union, strict=True)]


def mean_iou(counts: Tensor) -> float:
    """Intersection over union in percent, mean over the classes that were answered or true; NaN where none was.

    Source: Everingham et al. 2015 (the PASCAL VOC challenge), section 4.4.

    >>> mean_iou(torch.tensor([1.0, 2.0, 2.0, 2.0, 2.0, 2.0]))  # right 1 and 2, answered 2 and 2, true 2 and 2
    66.666...
    """
    right, answered, true = shares_of(counts)
    union = answered + true - right
    there = union > 0
    return 100 * float((right[there] / union[there]).mean()) if bool(there.any()) else float("nan")


def accuracy_of(counts: Tensor) -> float:
    """Right answers of all, in percent; NaN where there are none."""
    right, _, true = shares_of(counts)
    return 100 * float(right.sum() / true.sum()) if float(true.sum()) else float("nan")


def macro_f1(counts: Tensor) -> float:
    """F1 in percent, mean over the classes that were answered or true; NaN where none was."""
    right, answered, true = shares_of(counts)
    there = answered + true > 0
    return 100 * float((2 * right[there] / (answered + true)[there]).mean()) if bool(there.any()) else float("nan")


def average_precision(scores: Tensor, true: Tensor) -> float:
    """The area under the precision-recall steps, 0..1; NaN where nothing is true.

    ``AP = sum_k (R_k - R_(k-1)) P_k`` over the distinct scores from the highest down: equal scores are taken together.

    Args:
        scores: (N,), higher where more likely.
        true: (N,) bool.

    Source: as in scikit-learn's average_precision_score; Manning, Raghavan & Schuetze 2008, chapter 8.

    >>> average_precision(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([True, False, True]))
    0.8333...
    """
    if not bool(true.any()):
        return float("nan")
    order = scores.argsort(descending=True, stable=True)
    scores, hits = scores[order], true[order].double().cumsum(0)
    last = torch.cat([scores[1:] != scores[:-1], torch.ones(1, dtype=torch.bool, device=scores.device)])
    taken = torch.arange(1, len(scores) + 1, device=scores.device).double()[last]
    hits = hits[last]
    gained = torch.diff(hits, prepend=hits.new_zeros(1))
    return float((gained * hits / taken).sum() / hits[-1])
