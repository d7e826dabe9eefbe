"""How long a model takes for a batch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.lab.evaluation import evaluating

_WARM_UP, _LEAST, _MOST = 3, 7, 50  # passes
_SECONDS = 1.5  # of measuring, once the least number of passes is done


@dataclass(frozen=True)
class Latency:
    """Time of a forward pass.

    Args:
        batch: images in it.
        median: milliseconds.
        low: first quartile.
        high: third quartile.
        passes: how many were timed, after a warm-up.
    """

    batch: int
    median: float
    low: float
    high: float
    passes: int


def measure_latency(model: nn.Module, inputs: Tensor, arithmetic: Callable[[], AbstractContextManager[Any]]) -> Latency:
    """Time forward passes on ``inputs`` in eval mode: a warm-up, then at least 7 passes and about 1.5 seconds.

    Args:
        model: left as it was.
        inputs: a batch (N, ...), on the model's device.
        arithmetic: makes the context to run in.
    """
    times: list[float] = []
    with evaluating(model), arithmetic():
        for _ in range(_WARM_UP):
            model(inputs)
        while len(times) < _LEAST or (sum(times) < _SECONDS and len(times) < _MOST):
            _wait_for(inputs.device)
            start = time.perf_counter()
            model(inputs)
            _wait_for(inputs.device)
            times.append(time.perf_counter() - start)
    low, median, high = (1000 * value for value in statistics.quantiles(times, n=4, method="inclusive"))
    return Latency(len(inputs), median, low, high, len(times))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
