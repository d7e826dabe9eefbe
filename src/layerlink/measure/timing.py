"""How long something takes on a device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

_WARM_UP, _LEAST, _MOST = 3, 7, 50  # times
_SECONDS = 1.5  # of measuring, once the least number of times is done


@dataclass(frozen=True)
class Timing:
    """Times of the same work, done again and again.

    Args:
        median: milliseconds.
        low: first quartile.
        high: third quartile.
        passes: how many were timed, after a warm-up.
    """

    median: float
    low: float
    high: float
    passes: int


def measure(work: Callable[[], Any], device: torch.device) -> Timing:
    """Time ``work`` until all that it asked of ``device`` is done: a warm-up, then at least 7 times and about 1.5 s."""
    times: list[float] = []
    for _ in range(_WARM_UP):
        work()
    while len(times) < _LEAST or (sum(times) < _SECONDS and len(times) < _MOST):
        wait_for(device)
        start = time.perf_counter()
        work()
        wait_for(device)
        times.append(time.perf_counter() - start)
    return _timing(times)


def measure_in_turn(works: Sequence[Callable[[], Any]], device: torch.device, seconds: float) -> list[Timing]:
    """Time several works in rounds, each once a round, so that whatever slows the machine for a while slows them alike.

    Args:
        works: to compare.
        device: that is waited for.
        seconds: after which no further round begins, once there were 7; there are 50 rounds at most.
    """
    times: list[list[float]] = [[] for _ in works]
    for work in works:
        for _ in range(_WARM_UP):
            work()
    while len(times[0]) < _LEAST or (sum(map(sum, times)) < seconds and len(times[0]) < _MOST):
        for work, own in zip(works, times, strict=True):
            wait_for(device)
            start = time.perf_counter()
            work()
            wait_for(device)
            own.append(time.perf_counter() - start)
    return [_timing(own) for own in times]


def _timing(times: Sequence[float]) -> Timing:
    low, median, high = (1000 * value for value in statistics.quantiles(times, n=4, method="inclusive"))
    return Timing(median, low, high, len(times))


def wait_for(device: torch.device) -> None:
    """Return when all that was asked of ``device`` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
