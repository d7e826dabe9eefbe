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


def judge(logits: Tensor, labels: Tensor) -> Tensor:
    """What is to be known of every answer: (N, 3) float64, the class, its negative log-likelihood, its confidence.

    Args:
        logits: (N, C), any floating dtype.
        labels: (N,) int64.

    Returns:
        The most likely class; ``-log p[label]`` in nats; ``max p``, 0..1; with p the softmax in float64.
    """
    log_p = logits.double().log_softmax(dim=1)
    likelihood = -log_p.gather(1, labels[:, None])[:, 0]
    return torch.stack([answers(logits).double(), likelihood, log_p.amax(dim=1).exp()], dim=1)


def calibration_error(confidence: Tensor, right: Tensor, bins: int = 15) -> float:
    """How far confidence is from accuracy on average, in percent: the expected calibration error (ECE).

    Answers are sorted into bins of equal width by their confidence; ECE is the mean of the bins' distances between
    accuracy and mean confidence, weighted by their number of answers.

    Args:
        confidence: (N,) of the answers given, 0..1.
        right: (N,) bool, whether they are.
        bins: a bin holds its upper end, not its lower one.

    Source: Naeini et al. 2015; Guo et al. 2017 (arXiv 1706.04599), eq. 3, with their 15 bins.

    >>> calibration_error(torch.tensor([0.75, 0.75, 0.5, 0.5]), torch.tensor([True, True, True, False]))
    12.5
    """
    place = (confidence.double() * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64, device=confidence.device)
    gap.index_add_(0, place, right.double() - confidence.double())
    return 100 * float(gap.abs().sum()) / len(confidence)


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
