"""Tests of a difference between two rows, two-sided, and the correction for many of them.

Sources: Student 1908 (the paired t-test); Welch 1947, "The generalization of Student's problem when several different
population variances are involved"; Fisher 1935, "The Design of Experiments", section 21 (exact test by flipping signs);
Holm 1979, "A simple sequentially rejective multiple test procedure".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerlink.lab.report.chance.spread import Spread, spread_of
from layerlink.optional import need

LEVEL = 0.05
POWER = 0.8  # the chance to tell a difference that is there, for ``seeds_to_tell``
FLIPPED_FROM, FLIPPED_TO = 6, 20  # pairs: 2 / 2^5 is above 5 %; 2^20 sums are made in a tenth of a second


def _special() -> Any:
    return need("scipy.special", "page", "a report")


def paired_t(differences: Sequence[float], step: float = 0.0) -> tuple[float, float, float]:
    """Whether the mean of paired differences is 0.

    Args:
        differences: at least two.
        step: in which the two values of a pair can change, such as 100 / images in percent; 0 where they are
            continuous. Differences that agree by rounding alone are then not taken for differences without a spread.

    Returns:
        (p, low, high): the two-sided p-value, and the 95 % interval of the mean.
    """
    spread = spread_of(differences)
    return _t_test(spread.mean, _at_least(spread, step) / math.sqrt(spread.n), spread.n - 1)


def welch(first: Spread, second: Spread, step: float = 0.0) -> tuple[float, float, float]:
    """Whether two independent means differ, their variances being what they may; arguments as ``paired_t``'s.

    Each needs at least two values.
    """
    one, other = ((_at_least(it, step / math.sqrt(2)) ** 2) / it.n for it in (first, second))
    if one + other == 0:
        return _t_test(first.mean - second.mean, 0.0, first.n + second.n - 2)
    freedom = (one + other) ** 2 / (one**2 / (first.n - 1) + other**2 / (second.n - 1))
    return _t_test(first.mean - second.mean, math.sqrt(one + other), freedom)


def sign_flip(differences: Sequence[float]) -> float:
    """The exact p-value of paired differences: the share of all 2^n signs whose sum is at least as far from 0.

    It supposes only that, without an effect, a difference is as likely as its negative. With n pairs it cannot be
    below 2 / 2^n.

    Args:
        differences: 20 at most.
    """
    values = np.abs(np.asarray(differences, dtype=np.float64))
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    # Sums that are equal but for rounding count as equal.
    bound = abs(math.fsum(differences)) - 1e-9 * float(values.sum())
    return float(np.mean(np.abs(sums) >= bound))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Every p-value corrected for the number of tests: none below 5 % is a false one in 95 of 100 reports.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    {'d': 0.02, 'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        corrected[name] = largest
    return corrected


def bonferroni(p_values: Mapping[str, float]) -> dict[str, float]:
    """Every p-value times the number of tests: stricter than Holm's."""
    return {name: min(1.0, len(p_values) * p) for name, p in p_values.items()}


def seeds_to_tell(mean: float, sd: float, tests: int, *, most: int = 100) -> int | None:
    """How many pairs would tell a difference like this one with a chance of 80 %.

    Args:
        mean: of the difference, supposed to be the true one.
        sd: of paired differences, supposed to be the true one; > 0.
        tests: made at once: each is held to 5 % divided by their number.
        most: None is given where more would be needed.
    """
    special = _special()
    for pairs in range(2, most + 1):
        bound = special.stdtrit(pairs - 1, 1 - LEVEL / tests / 2)
        if 1 - special.nctdtr(pairs - 1, abs(mean) / sd * math.sqrt(pairs), bound) >= POWER:
            return pairs
    return None


def largest_of(count: int) -> float:
    """How far the largest of so many standard normal numbers lies above 0 on average.

    Source: Blom 1958: the quantile at (k - 0.375) / (k + 0.25), off by less than 0.02 for k up to 100.
    """
    return float(_special().ndtri((count - 0.375) / (count + 0.25)))


def _at_least(spread: Spread, step: float) -> float:
    """The spread, or that of the rounding: each value of a pair is rounded evenly within a step."""
    return max(spread.sd or 0.0, step / math.sqrt(6))


def _t_test(mean: float, error: float, freedom: float) -> tuple[float, float, float]:
    special = _special()
    reach = float(special.stdtrit(freedom, 1 - LEVEL / 2)) * error
    if error == 0:
        return (1.0 if mean == 0 else 0.0), mean, mean
    return 2 * float(special.stdtr(freedom, -abs(mean) / error)), mean - reach, mean + reach
