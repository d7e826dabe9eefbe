"""Which mean and standard deviation a data set's views are normalised by; ``views.py`` subtracts and divides."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Normalize = Literal["mean-std", "mean", "none"]
Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation, per channel


def normalisation(images: Tensor, normalize: Normalize) -> Statistics:
    """The mean to subtract and the standard deviation to divide by, per channel, in units where white is 1.

    Args:
        images: (N, C, H, W) uint8: of the whole training set, never the test set's, so that a teacher and a student
            with fewer images see the same pixels alike.
        normalize: "mean-std" does both; "mean" divides by 1; "none" also subtracts 0.
    """
    mean, std = channel_statistics(images)
    if normalize == "none":
        mean = tuple(0.0 for _ in mean)
    if normalize != "mean-std":
        std = tuple(1.0 for _ in std)
    return mean, std


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in units where white is 1.

    Args:
        images: (N, C, H, W) uint8, N >= 1.

    Returns:
        (mean, std), exact up to float64: computed from counts of the 256 values. A channel without any
        variation gets std 1, so that dividing by it is harmless.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    mean, std = [], []
    for channel in range(images.shape[1]):
        share = torch.bincount(images[:, channel].flatten(), minlength=256).double().cpu()
        share /= share.sum()
        centre = float((share * values).sum())
        spread = float((share * (values - centre) ** 2).sum().sqrt())
        mean.append(centre)
        std.append(spread or 1.0)
    return tuple(mean), tuple(std)
