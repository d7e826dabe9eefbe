"""Means, spreads, and when a difference is more than the spread. Pure functions of numbers.

One rule decides everywhere: two rows differ by more than the spread where each has at least two seeds and Welch's
t-test (Welch 1947, "The generalization of Student's problem when several different population variances are
involved") tells their means apart at 5 %, two-sided:

    |mean1 - mean2| > t(df) * sqrt(sd1^2 / n1 + sd2^2 / n2)

with the Welch-Satterthwaite degrees of freedom df and Student's t at 97.5 %. For two seeds a row t is 4.3 at best,
for three 2.8: few seeds have to be far apart to count. No correction is made for the number of rows compared.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

# Student's t at 97.5 % for 1 to 30 degrees of freedom; the last serves for more, which errs on the strict side.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


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


@dataclass(frozen=True)
class Difference:
    """One row minus another.

    Args:
        mean: over the seeds that both have, of one run minus the other; where they share none, of the means.
        sd: of these differences; of unshared seeds, what independent runs would give: sqrt(sd1^2 + sd2^2). None
            where there is one value only.
        n: how many differences; for unshared seeds the smaller number of runs.
        paired: whether it is over shared seeds.
        beyond: whether the rows differ by more than the spread; None where a row has a single seed.
    """

    mean: float
    sd: float | None
    n: int
    paired: bool
    beyond: bool | None


@dataclass(frozen=True)
class Verdict:
    """Which row is best.

    Args:
        leader: the row with the highest mean.
        best: the leader where it differs from every other row by more than the spread, else None.
        why_not: the sentence that says why no row is marked; empty where one is.
    """

    leader: str
    best: str | None
    why_not: str = ""


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


def beyond_spread(first: Spread, second: Spread) -> bool | None:
    """Whether two rows differ by more than the spread, by the rule of this module; None where one has one seed."""
    if first.sd is None or second.sd is None:
        return None
    one, other = first.sd**2 / first.n, second.sd**2 / second.n
    if one + other == 0:
        return first.mean != second.mean
    freedom = (one + other) ** 2 / (one**2 / (first.n - 1) + other**2 / (second.n - 1))
    return abs(first.mean - second.mean) > student_t(freedom) * math.sqrt(one + other)


def student_t(freedom: float) -> float:
    """Student's t at 97.5 % for 1 or more degrees of freedom; between whole ones, interpolated over 1 / df."""
    low = min(max(int(freedom), 1), len(_T))
    if low == len(_T):
        return _T[-1]
    share = (1 / low - 1 / max(freedom, 1)) / (1 / low - 1 / (low + 1))
    return _T[low - 1] + share * (_T[low] - _T[low - 1])


def difference(values: Mapping[int, float], others: Mapping[int, float]) -> Difference | None:
    """``values`` minus ``others``, both by seed, paired where they share seeds; None where one has none."""
    if not values or not others:
        return None
    first, second = spread_of(values.values()), spread_of(others.values())
    beyond = beyond_spread(first, second)
    shared = sorted(values.keys() & others.keys())
    if shared:
        paired = spread_of([values[seed] - others[seed] for seed in shared])
        return Difference(paired.mean, paired.sd, paired.n, True, beyond)
    sd = None if first.sd is None or second.sd is None else math.hypot(first.sd, second.sd)
    return Difference(first.mean - second.mean, sd, min(first.n, second.n), False, beyond)


def judge(spreads: Mapping[str, Spread]) -> Verdict:
    """The best of at least one row: marked only where it differs from every other by more than the spread."""
    order = sorted(spreads, key=lambda name: -spreads[name].mean)
    leader = order[0]
    if len(order) == 1:
        return Verdict(leader, None, "There is one row with a finished run: nothing to compare.")
    single = [name for name in order if spreads[name].n == 1]
    if len(single) == len(order):
        return Verdict(leader, None, "No row is marked as best: with a single seed each, a difference may be luck.")
    if leader in single:
        return Verdict(leader, None, f"No row is marked as best: the highest, “{leader}”, has a single seed.")
    for name in order[1:]:
        if name not in single and not beyond_spread(spreads[leader], spreads[name]):
            gap = spreads[leader].mean - spreads[name].mean
            what = f"“{leader}” leads “{name}” by {gap:.2f} points, which is not more than the spread"
            return Verdict(leader, None, f"No row is marked as best: {what}.")
    if single:
        return Verdict(
            leader, None, f"No row is marked as best: “{single[0]}” has a single seed, so its spread is unknown."
        )
    return Verdict(leader, leader)
