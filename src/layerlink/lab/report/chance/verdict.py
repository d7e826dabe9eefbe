"""Which row may be called best, and what choosing it did to its number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layerlink.lab.report.chance.difference import Difference, Seeds, compare
from layerlink.lab.report.chance.p_values import LEVEL, bonferroni, largest_of
from layerlink.lab.report.chance.spread import spread_of


@dataclass(frozen=True)
class Verdict:
    """Which row is best.

    Args:
        leader: the row with the highest mean.
        best: the leader where it is told apart from every other row, else None.
        why_not: the sentence that says why no row is marked; empty where one is.
        ahead: the leader minus every other row.
    """

    leader: str
    best: str | None
    why_not: str
    ahead: Mapping[str, Difference]


def judge(values: Mapping[str, Seeds], step: float = 0.0, unit: str = " points") -> Verdict:
    """The best of the rows, at least one of which has a value.

    The leader is marked only where it is told apart from each other row at 5 % divided by the number of others
    (Bonferroni). That corrects for the choice as well: whichever row is truly best, one of the others is taken for it
    in at most 5 of 100 reports, because it would have to beat the best one at that level.

    Args:
        values: the score of the test images by row and seed; more is better.
        step: in which a value can change, as for ``paired_t``.
        unit: of differences.
    """
    values = {name: seeds for name, seeds in values.items() if seeds}
    means = {name: spread_of(seeds.values()).mean for name, seeds in values.items()}
    order = sorted(means, key=lambda name: -means[name])
    leader = order[0]
    if len(order) == 1:
        return Verdict(leader, None, "There is one row with a finished run: nothing to compare.", {})
    ahead = compare(values, leader, step, bonferroni)
    ahead = {name: turned(ahead[name]) for name in order[1:]}
    why_not = _why_not(leader, ahead, {name: len(seeds) for name, seeds in values.items()}, unit)
    return Verdict(leader, None if why_not else leader, why_not, ahead)


def turned(it: Difference) -> Difference:
    """The other row minus this one."""
    low, high = (None, None) if it.low is None or it.high is None else (-it.high, -it.low)
    return Difference(-it.mean, it.sd, it.n, it.paired, low, high, it.test, it.p, it.corrected, it.exact, it.more)


def _why_not(leader: str, ahead: Mapping[str, Difference], count: Mapping[str, int], unit: str) -> str:
    if max(count.values()) == 1:
        return "No row is marked as best: with a single seed each, a difference may be luck."
    if count[leader] == 1:
        return f"No row is marked as best: the highest, “{leader}”, has a single seed."
    for name, difference in ahead.items():
        # A leader may lead by its other seeds and be behind where both are.
        if difference.sd is not None and not (difference.told and difference.mean > 0):
            if difference.mean <= 0:
                return f"No row is marked as best: “{leader}” does not lead “{name}” over the seeds that both have."
            if difference.corrected is None:
                continue
            what = f"“{leader}” leads “{name}” by {difference.mean:.2f}{unit}, which may be chance"
            return f"No row is marked as best: {what} ({p_words(difference.corrected)})."
    unknown = next((name for name, difference in ahead.items() if difference.p is None), None)
    if unknown is not None:
        why = "has a single seed in common" if ahead[unknown].sd is None else "is as far behind in every seed"
        return f"No row is marked as best: “{unknown}” {why}, so the spread is unknown."
    return ""


def p_words(p: float) -> str:
    """A p-value as it is read.

    >>> p_words(0.0341), p_words(0.2), p_words(0.00001), p_words(0.0502)
    ('p = 0.034', 'p = 0.2', 'p < 0.001', 'p = 0.0502')
    """
    if p < 0.001:
        return "p < 0.001"
    # What is above the level is not rounded down to it.
    shown = next(text for digits in range(2, 18) if (float(text := f"{p:.{digits}g}") <= LEVEL) == (p <= LEVEL))
    return f"p = {shown}"


def _sharing(first: Seeds, every: Sequence[Seeds]) -> tuple[list[Seeds], set[Any]]:
    """Rows with this one first, most seeds next, as long as two seeds are left that all of them have; these seeds."""
    rows, shared = [first], set(first)
    for seeds in (it for it in every if it is not first):
        if len(shared & seeds.keys()) >= 2:
            rows, shared = [*rows, seeds], shared & seeds.keys()
    return rows, shared


def flattery(values: Mapping[str, Seeds]) -> float | None:
    """How many points too high the best of these rows would read by chance alone, were all of them equally good.

    By the spread that is left when rows' and seeds' own means are taken out, over the seeds that rows share; a row that
    has too few of them adds to the number of rows alone.

    Returns:
        None where fewer than two rows share at least two seeds.
    """
    every = sorted((seeds for seeds in values.values() if seeds), key=len, reverse=True)
    rows, shared = max((_sharing(first, every) for first in every), key=lambda it: len(it[0]), default=([], set()))
    if len(rows) < 2:
        return None
    by_row = [math.fsum(seeds[seed] for seed in shared) / len(shared) for seeds in rows]
    by_seed = [math.fsum(seeds[seed] for seeds in rows) / len(rows) for seed in shared]
    whole = math.fsum(by_row) / len(rows)
    left = math.fsum(
        (seeds[seed] - row - column + whole) ** 2
        for seeds, row in zip(rows, by_row, strict=True)
        for seed, column in zip(shared, by_seed, strict=True)
    )
    sd = math.sqrt(left / ((len(rows) - 1) * (len(shared) - 1)))
    return largest_of(len(every)) * sd / math.sqrt(len(shared))
