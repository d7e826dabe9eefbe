"""What a model costs on this machine, as a share of another's; and the search for one that costs what is asked."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from layerlink.errors import UsageError
from layerlink.measure.flops import count_flops, count_parameters
from layerlink.measure.timing import wait_for
from layerlink.taps.modes import evaluating
from layerlink.taps.modules import call_model

WITHIN = 0.1  # of the budget
ROUNDS = 5
_PASSES = 3  # of a model in a round


@dataclass(frozen=True)
class Budget:
    """What the student may cost.

    Args:
        kind: ``params``, ``flops`` or ``latency``.
        share: of the teacher's, above 0 and below 1.
    """

    kind: str
    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError(f"{self.kind} is a share of the teacher's, above 0 and below 1; got {self.share:g}")

    def met(self, share: float) -> bool:
        """Whether a share is within a tenth of what was asked."""
        return abs(share / self.share - 1) <= WITHIN

    def distance(self, share: float) -> float:
        """From what was asked, as a share of it."""
        return abs(share / self.share - 1)


def share_of(kind: str, student: nn.Module, teacher: nn.Module, inputs: Any, device: torch.device) -> float:
    """What a student costs, over what the teacher costs, measured."""
    if kind == "params":
        return count_parameters(student) / count_parameters(teacher)
    if kind == "flops":
        return count_flops(student, inputs) / count_flops(teacher, inputs)
    student_ms, teacher_ms = latencies((student, teacher), inputs, device)
    return student_ms / teacher_ms


def latencies(models: Sequence[nn.Module], inputs: Any, device: torch.device) -> list[float]:
    """Milliseconds of a pass of each, the median of five rounds in which they take turns, after a warm-up."""
    rounds: list[list[float]] = [[] for _ in models]
    for turn in range(-1, ROUNDS):
        for model, found in zip(models, rounds, strict=True):
            time = _timed(model, inputs, device)
            if turn >= 0:
                found.append(time)
    return [statistics.median(found) for found in rounds]


def _timed(model: nn.Module, inputs: Any, device: torch.device) -> float:
    import time

    with evaluating(model), torch.no_grad():
        wait_for(device)
        start = time.perf_counter()
        for _ in range(_PASSES):
            call_model(model, inputs)
        wait_for(device)
    return 1000 * (time.perf_counter() - start) / _PASSES


Made = TypeVar("Made")


def nearest(values: Sequence[Made], cost: Callable[[Made], float], budget: Budget) -> tuple[Made, float]:
    """Of values whose cost falls the one nearest to the budget, and its cost; found by halving."""
    low, high = 0, len(values) - 1
    known: dict[int, float] = {}

    def at(place: int) -> float:
        if place not in known:
            known[place] = cost(values[place])
        return known[place]

    while low < high:
        middle = (low + high) // 2
        if at(middle) <= budget.share:
            high = middle
        else:
            low = middle + 1
    at(low), at(max(low - 1, 0))
    best = min(known, key=lambda place: budget.distance(known[place]))
    return values[best], known[best]
