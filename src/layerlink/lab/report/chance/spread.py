"""Mean and spread of a few numbers."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """What several seeds gave.

    Args:
        mean: of the values.
        sd: sample standard deviation, with n - 1 in the denominator; None for a single value.
        n: how many values.
    """

    mean: float
    sd: float | None
    n: int


def spread_of(values: Collection[float]) -> Spread:
    """Mean, sample standard deviation and count of at least one value.

    >>> spread_of([1.0, 2.0, 3.0])
    Spread(mean=2.0, sd=1.0, n=3)
    """
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Spread(mean, None, 1)
    return Spread(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)), n)
