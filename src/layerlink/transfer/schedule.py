"""When a term counts: from when until when, rising and fading or not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from layerlink.errors import UsageError, unknown_name

Decay = Literal["none", "linear"]


@dataclass(frozen=True)
class Schedule:
    """The time of a term, in epochs since the start of the training; fractions are allowed.

    Args:
        start: the term begins then ("from" in texts and recipes).
        until: it ends then; None: with the training.
        warmup: its weight rises linearly from 0 for so long after the start.
        decay: "linear" lets the weight fall to 0 from the start to the end.
    """

    start: float = 0.0
    until: float | None = None
    warmup: float = 0.0
    decay: Decay = "none"

    @property
    def always(self) -> bool:
        """Whether it counts from the first step to the last."""
        return not self.start and not self.warmup and self.until is None

    def problems(self) -> Iterator[str]:
        """What is impossible about it, in sentences that begin with the field."""
        for name, value, least in (("from", self.start, 0), ("warmup", self.warmup, 0), ("until", self.until, None)):
            if value is None:
                continue
            if not (is_number(value) and (value > 0 if least is None else value >= 0)):
                bound = "> 0" if least is None else ">= 0"
                yield f"{name} must be a finite number of epochs {bound}; got {said(value)}"
            elif name == "until" and is_number(self.start) and value <= self.start:
                yield f"until must be later than from ({said(self.start)}); got {said(value)}"
        if self.decay not in get_args(Decay):
            yield unknown_name("decay", str(self.decay), get_args(Decay))

    def check(self, what: str) -> None:
        """Raise ``UsageError`` for the first problem; ``what`` says whose it is, such as ``"soft: "``."""
        for problem in self.problems():
            raise UsageError(f"{what}{problem}")

    def weight_at(self, weight: float, epoch: float, epochs: float) -> float | None:
        """A weight at a time; None where its term has not begun or is over.

        Args:
            weight: the full one.
            epoch: since the start of the training, in epochs, fractions included.
            epochs: of the whole training.

        >>> Schedule(decay="linear").weight_at(2.0, 3, 4)
        0.5
        """
        end = min(self.until or epochs, epochs)
        fades = self.decay == "linear"
        if epoch < self.start or (epoch >= end and (fades or self.until is not None)):
            return None
        since = epoch - self.start
        if since < self.warmup:
            weight = weight * (since / self.warmup)
        return weight * (1 - since / (end - self.start)) if fades else weight


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def said(value: Any) -> str:
    """A value as messages say it."""
    return f"{value:g}" if isinstance(value, int | float) else repr(value)
