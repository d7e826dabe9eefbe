"""Classification: one class of C for every example."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def answers(logits: Tensor) -> Tensor:
    """The most likely classes, (N,) int64, of logits (N, C)."""
    return logits.argmax(dim=1)


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many answers are right, a scalar on the logits' device."""
    return (answers(logits.detach()) == labels).sum().float()


def percent_equal(first: Tensor, second: Tensor) -> float:
    """Share of equal entries, in percent: accuracy beside labels, agreement beside another model's answers."""
    return 100 * float((first == second).double().mean())


def chance(labels: Tensor) -> tuple[float, float]:
    """What the commonest class alone would reach on (N,) labels: its share, 0..1, and the standard deviation of it."""
    share = float(torch.bincount(labels).max()) / len(labels)
    return share, math.sqrt(share * (1 - share) / len(labels))


def confusion(rows: Tensor, columns: Tensor, classes: int) -> Tensor:
    """How often each pair of classes meets: (C, C) int64.

    Args:
        rows: (N,) int64 in ``0 .. classes - 1``, such as true classes.
        columns: (N,) int64, such as answers.
        classes: C.
    """
    pairs = torch.bincount(rows * classes + columns, minlength=classes * classes)
    return pairs.reshape(classes, classes).cpu()
