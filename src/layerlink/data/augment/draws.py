"""Random numbers of an image's view, which follow from (seed, epoch, image) and what they are for, and nothing else."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Multipliers of splitmix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators"), as
# signed 64-bit integers: torch has no unsigned arithmetic, and its int64 product wraps around on every device.
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX2 = 0x94D049BB133111EB - (1 << 64)

# What numbers are drawn for: each is a stream of its own, so that none changes where another is switched on.
PURPOSES = {
    name: place
    for place, name in enumerate(
        (
            *("crop", "area", "ratio", "top", "left", "brightness", "contrast", "saturation", "hue"),
            *("square top", "square left", "partner", "share", "which", "box top", "box left"),
            *(f"{what} {n}" for n in range(8) for what in ("operation", "sign", "along")),
        )
    )
}


def bits(indices: Tensor, seed: int, epoch: int) -> Tensor:
    """63 random bits for every index: two rounds of splitmix64 over (seed, epoch, index)."""
    state = _mix(torch.full_like(indices, seed) * _GOLDEN + epoch)
    return _mix(state + (indices + 1) * _GOLDEN) & 0x7FFFFFFFFFFFFFFF


def uniform(indices: Tensor, seed: int, epoch: int, purpose: str, low: float = 0.0, high: float = 1.0) -> Tensor:
    """A number in ``low <= x < high`` for every index: (N,) float64.

    Args:
        indices: (N,) int64, of images.
        seed: 0 .. 2^40 - 1.
        epoch: from 0.
        purpose: of ``PURPOSES``.
        low: the least.
        high: above all.
    """
    drawn = bits(indices, seed + (PURPOSES[purpose] << 40), epoch) >> 10  # as many as a float64 holds
    return low + (high - low) * (drawn.double() / 2**53)


def uniform_on_host(
    places: NDArray[np.int64], seed: int, epoch: int, purpose: str, low: float = 0.0, high: float = 1.0
) -> NDArray[np.float64]:
    """As ``uniform``, bit by bit, for whoever must know the numbers where no device is waited for."""
    known, golden = places.astype(np.uint64), np.uint64(_GOLDEN % (1 << 64))
    first = np.uint64((seed + (PURPOSES[purpose] << 40)) % (1 << 64))
    state = _mix_on_host(np.full_like(known, first) * golden + np.uint64(epoch))
    drawn = _mix_on_host(state + (known + np.uint64(1)) * golden) & np.uint64(0x7FFFFFFFFFFFFFFF)
    return low + (high - low) * ((drawn >> np.uint64(10)).astype(np.float64) / 2**53)


def _mix_on_host(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_MIX1 % (1 << 64))
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_MIX2 % (1 << 64))
    return state ^ (state >> np.uint64(31))


def _mix(state: Tensor) -> Tensor:
    state = (state ^ _logical_shift(state, 30)) * _MIX1
    state = (state ^ _logical_shift(state, 27)) * _MIX2
    return state ^ _logical_shift(state, 31)


def _logical_shift(state: Tensor, bits: int) -> Tensor:
    """Shift right filling with zeros; torch's own shift of int64 fills with the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
