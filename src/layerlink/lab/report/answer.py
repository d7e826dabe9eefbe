"""The sentences that answer a reader's question, made from the rows' statistics and from nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from layerlink.lab.report.gather.records import Row, is_number
from layerlink.lab.report.gather.rows import Gathered
from layerlink.lab.report.spread import Difference, Spread, Verdict, beyond_spread, difference, judge, spread_of


def spreads_of(rows: tuple[Row, ...]) -> dict[str, Spread]:
    """Test accuracy of every row that has a finished run, by name."""
    return {row.name: spread_of(values.values()) for row in rows if (values := row.values())}


def verdict_of(gathered: Gathered) -> Verdict | None:
    """Which row is best; None where no run is finished."""
    spreads = spreads_of(gathered.rows)
    return judge(spreads) if spreads else None


def answer(gathered: Gathered) -> str:
    """One to four sentences: which row is best, by how much, what does not matter, what is missing."""
    spreads = spreads_of(gathered.rows)
    if not spreads:
        return " ".join(["No run is finished yet, so there is nothing to compare.", *_missing(gathered)])
    verdict = judge(spreads)
    sentences = [_lead(gathered, spreads, verdict), *_plateau(gathered, spreads, verdict), *_missing(gathered)]
    return " ".join(sentences)


def _lead(gathered: Gathered, spreads: Mapping[str, Spread], verdict: Verdict) -> str:
    """Who leads, and whether that means anything."""
    leader, baseline = spreads[verdict.leader], gathered.baseline
    if len(spreads) == 1:
        return f"“{verdict.leader}” reads {_percent(leader)} of the test images right."
    others = sorted((name for name in spreads if name != verdict.leader), key=lambda name: -spreads[name].mean)
    gap = leader.mean - spreads[others[0]].mean
    against = _against(gathered, verdict.leader)
    if baseline is not None and against is not None:
        compared = f"{_points(against)} than “{baseline.name}”" + ("" if against.mean < 0 else _spread_words(against))
        if others[0] != baseline.name:
            compared += f", {gap:.1f} points more than the next, “{others[0]}”"
    else:
        compared = f"{gap:.1f} points more than the next, “{others[0]}”"
    said = f"it reads {_percent(leader)} of the test images right, {compared}."
    if verdict.best is not None:
        return f"“{verdict.leader}” is best: {said}"
    return f"“{verdict.leader}” leads: {said} {_doubt(gathered, spreads, verdict)}"


def _doubt(gathered: Gathered, spreads: Mapping[str, Spread], verdict: Verdict) -> str:
    """Why the lead is not called a win, and what can be said nevertheless."""
    if all(spread.n == 1 for spread in spreads.values()):
        return "Each row has a single seed, so a difference of a point or two may be luck."
    baseline = gathered.baseline
    if baseline is None or baseline.name not in spreads:
        return "That is not more than the spread." if spreads[verdict.leader].n > 1 else verdict.why_not
    others = [name for name in spreads if name != baseline.name]
    beyond = {name: beyond_spread(spreads[name], spreads[baseline.name]) for name in others}
    above = [name for name in others if beyond[name] and spreads[name].mean > spreads[baseline.name].mean]
    below = [name for name in others if beyond[name] and spreads[name].mean < spreads[baseline.name].mean]
    if not above and not below:
        unknown = [name for name in others if beyond[name] is None]
        if len(unknown) == len(others):
            return "Too few seeds to know the spread: a difference of a point or two may be luck."
        return f"No row differs from “{baseline.name}” by more than the spread."
    said = []
    if verdict.leader in above:
        said.append(_of_both(spreads, verdict, baseline.name))
    elif above:
        said.append(f"{_listed(above)} above “{baseline.name}” by more than the spread.")
    if below:
        said.append(f"{_listed(below)} below “{baseline.name}” by more than the spread.")
    return " ".join(said)


def _of_both(spreads: Mapping[str, Spread], verdict: Verdict, baseline: str) -> str:
    """The leader is above the baseline by more than the spread: what of its lead over the next."""
    second = max((name for name in spreads if name != verdict.leader), key=lambda name: spreads[name].mean)
    if second != baseline and beyond_spread(spreads[verdict.leader], spreads[second]) is False:
        return "Of these two differences only the first is more than the spread."
    return f"That is more than the spread. {verdict.why_not}"


def _listed(names: list[str]) -> str:
    if len(names) > 3:
        return f"{len(names)} rows are"
    return " and ".join(f"“{name}”" for name in names) + (" is" if len(names) == 1 else " are")


def _plateau(gathered: Gathered, spreads: Mapping[str, Spread], verdict: Verdict) -> list[str]:
    """Where the values of a numeric axis next to the best one do as well, within the spread."""
    sentences = []
    for axis in gathered.axes:
        rows = [row for row in gathered.rows if row.name in spreads and is_number(row.changes.get(axis))]
        along = {float(row.changes[axis]): row.name for row in rows}
        if len(along) < len(rows):  # something else differs as well
            continue
        if len(along) < 3:
            continue
        order = sorted(along)
        top = max(order, key=lambda value: spreads[along[value]].mean)
        like = [value == top or beyond_spread(spreads[along[top]], spreads[along[value]]) is False for value in order]
        low = high = order.index(top)
        while low > 0 and like[low - 1]:
            low -= 1
        while high < len(order) - 1 and like[high + 1]:
            high += 1
        if high > low:
            name = axis.rpartition(".")[2].replace("_", " ")
            sentences.append(
                f"Between {order[low]:g} and {order[high]:g} the {name} makes no difference beyond the spread."
            )
    return sentences


def _missing(gathered: Gathered) -> list[str]:
    """What of the planned runs is not there."""
    states = Counter(run.state for run in gathered.runs)
    unfinished = states["unfinished"]
    parts = [
        *([f"{states['failed']} failed"] if states["failed"] else []),
        *([f"{states['damaged']} cannot be read"] if states["damaged"] else []),
        *([f"{unfinished} {'is' if unfinished == 1 else 'are'} not finished"] if unfinished else []),
    ]
    if not parts:
        return []
    count = len(gathered.runs)
    said = f"{', '.join(parts[:-1])}{' and ' if parts[:-1] else ''}{parts[-1]}"
    return [f"Of {count} run{'' if count == 1 else 's'}, {said}."]


def _against(gathered: Gathered, name: str) -> Difference | None:
    baseline = gathered.baseline
    row = next(row for row in gathered.rows if row.name == name)
    return None if baseline is None or row is baseline else difference(row.values(), baseline.values())


def _percent(spread: Spread) -> str:
    if spread.sd is None:
        return f"{spread.mean:.1f} % (one seed)"
    return f"{spread.mean:.1f} % (sd {spread.sd:.1f}, n = {spread.n})"


def _points(against: Difference) -> str:
    return f"{abs(against.mean):.1f} points {'more' if against.mean >= 0 else 'less'}"


def _spread_words(against: Difference) -> str:
    return "" if against.sd is None else f" (sd {against.sd:.1f}, n = {against.n})"
