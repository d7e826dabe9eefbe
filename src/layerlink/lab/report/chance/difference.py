"""One row against another, seed by seed.

Rows of a sweep share seeds, and with them the images, their order and the student's first weights; so they are compared
pair by pair, which leaves out what a seed does to all of them. That is so on one kind of processor and in one
precision: a key of a value tells these, too. Where two rows share fewer than two keys, Welch's test compares their
means.

Which test decides goes by the number of pairs and of rows alone, never by the values: the exact test, which supposes
nothing of how differences are distributed, from as many pairs on as let it reach 5 % after the correction for the
number of rows (six for one comparison, nine for eight); the paired t-test before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from layerlink.lab.report.chance.p_values import (
    FLIPPED_FROM,
    FLIPPED_TO,
    LEVEL,
    holm,
    paired_t,
    seeds_to_tell,
    sign_flip,
    welch,
)
from layerlink.lab.report.chance.spread import spread_of

Test = Literal["", "paired t", "sign flip", "Welch"]
Seeds = Mapping[Any, float]  # a row's values: by seed, or by whatever else two rows have in common; keys have an order
_ROUNDING = 1e-12  # of a number's size: differences that agree so well are the same one


@dataclass(frozen=True)
class Difference:
    """One row minus another.

    Args:
        mean: over the seeds that both have, of one run minus the other; where they share none, of the means.
        sd: of these differences; of unshared seeds, what independent runs would give: sqrt(sd1^2 + sd2^2). None
            where there is one value only.
        n: how many differences; for unshared seeds the smaller number of runs.
        paired: whether it is over shared seeds.
        low, high: the 95 % interval of the mean, of this comparison alone; None where a spread is unknown.
        test: which one decides; empty where none can: one value, or values in no steps that agree to the last digit,
            as of seeds that change nothing, which tell no spread.
        p: its p-value, of this comparison alone.
        corrected: the p-value after the correction for all comparisons made with it.
        exact: the p-value of the exact test, from six pairs on, whether or not it decides.
        more: about how many more seeds would tell a difference of this size and spread with a chance of 80 %; 0 where
            it is told, None where more than 100 or nobody knows.
    """

    mean: float
    sd: float | None
    n: int
    paired: bool
    low: float | None = None
    high: float | None = None
    test: Test = ""
    p: float | None = None
    corrected: float | None = None
    exact: float | None = None
    more: int | None = None

    @property
    def told(self) -> bool | None:
        """Whether the rows are told apart at 5 % after the correction; None where a spread is unknown."""
        return None if self.corrected is None else self.corrected <= LEVEL


def compare(
    values: Mapping[str, Seeds],
    reference: str,
    step: float = 0.0,
    correct: Callable[[Mapping[str, float]], dict[str, float]] = holm,
) -> dict[str, Difference]:
    """Every other row that has a value, minus the reference.

    Args:
        values: by row; the reference among them.
        reference: the row that the others are compared with.
        step: in which a value can change, as for ``paired_t``.
        correct: makes p-values of them that are corrected for their number.

    Returns:
        By row, in their order.
    """
    if not values.get(reference):
        return {}
    others = {name: seeds for name, seeds in values.items() if name != reference and seeds}
    found = {name: _difference(seeds, values[reference], len(others), step) for name, seeds in others.items()}
    tested = {name: difference.p for name, difference in found.items() if difference.p is not None}
    corrected = correct(tested)
    return {
        name: replace(it, corrected=corrected[name], more=_more(it, corrected[name], len(tested), step))
        if name in corrected
        else it
        for name, it in found.items()
    }


def _difference(values: Seeds, others: Seeds, tests: int, step: float) -> Difference:
    shared = sorted(values.keys() & others.keys())
    first, second = spread_of(values.values()), spread_of(others.values())
    independent = first.sd is not None and second.sd is not None
    if len(shared) == 1 and not independent:
        return Difference(values[shared[0]] - others[shared[0]], None, 1, True)
    if len(shared) < 2:
        mean, n = first.mean - second.mean, min(first.n, second.n)
        if first.sd is None or second.sd is None:
            return Difference(mean, None, n, False)
        if not step and _one_number(values) and _one_number(others):
            return Difference(mean, 0.0, n, False)
        p, low, high = welch(first, second, step)
        return Difference(mean, math.hypot(first.sd, second.sd), n, False, low, high, "Welch", p)
    pairs = [values[seed] - others[seed] for seed in shared]
    spread = spread_of(pairs)
    size = max(abs(value) for seed in shared for value in (values[seed], others[seed]))
    if not step and max(pairs) - min(pairs) <= _ROUNDING * size:
        return Difference(spread.mean, 0.0, spread.n, True)
    p, low, high = paired_t(pairs, step)
    exact = sign_flip(pairs) if FLIPPED_FROM <= len(pairs) <= FLIPPED_TO else None
    found = Difference(spread.mean, spread.sd, spread.n, True, low, high, "paired t", p, exact=exact)
    if exact is not None and tests * 2 / 2 ** len(pairs) <= LEVEL:
        return replace(found, test="sign flip", p=exact)
    return found


def _one_number(values: Seeds) -> bool:
    return max(values.values()) - min(values.values()) <= _ROUNDING * max(map(abs, values.values()))


def _more(it: Difference, corrected: float, tests: int, step: float) -> int | None:
    if corrected <= LEVEL:
        return 0
    sd = max(it.sd or 0.0, step / math.sqrt(6))
    pairs = seeds_to_tell(it.mean, sd, tests) if sd else None
    # As many as there are may have had bad luck: one more is the least.
    return None if pairs is None else max(1, pairs - it.n)
