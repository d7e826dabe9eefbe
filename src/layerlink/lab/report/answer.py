"""The sentences that answer a reader's question, made from the rows' statistics and from nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from layerlink.lab.report.chance.difference import Difference, Seeds, compare
from layerlink.lab.report.chance.p_values import LEVEL
from layerlink.lab.report.chance.spread import Spread, spread_of
from layerlink.lab.report.chance.verdict import Verdict, judge
from layerlink.lab.report.gather.records import is_number
from layerlink.lab.report.gather.rows import Gathered
from layerlink.tasks import ACCURACY, Score


def values_of(gathered: Gathered, part: str = "test") -> dict[str, Seeds]:
    """The score of every row that has a finished run: by row's name, by what makes a pair. More is better: a score of
    which less is better has its sign turned."""
    name = f"{part}_{gathered.score.name}"
    sign = 1.0 if gathered.score.higher_is_better else -1.0
    found = {row.name: row.pairs(name) for row in gathered.rows}
    return {row: {seed: sign * value for seed, value in seeds.items()} for row, seeds in found.items() if seeds}


def step_of(gathered: Gathered) -> float:
    """The percent of test examples that one of them is, where runs read different numbers the fewest; 0 where a score
    changes in no steps that are known."""
    counts = [count for run in gathered.runs if (count := run.number("test_images"))]
    return 100 / min(counts) if counts and gathered.score == ACCURACY else 0.0


def verdict_of(gathered: Gathered) -> Verdict | None:
    """Which row is best; None where no run is finished."""
    values = values_of(gathered)
    return judge(values, step_of(gathered), _points(gathered.score)) if values else None


def differences_of(gathered: Gathered) -> dict[str, Difference]:
    """How much better every row is than the baseline; empty where there is no baseline."""
    baseline = gathered.baseline
    return {} if baseline is None else compare(values_of(gathered), baseline.name, step_of(gathered))


def answer(gathered: Gathered) -> str:
    """A few sentences: which row is best and by how much, what chance may have done, what is missing."""
    verdict = verdict_of(gathered)
    if verdict is None:
        return " ".join(["No run is finished yet, so there is nothing to compare.", *_missing(gathered)])
    spreads = {name: spread_of(seeds.values()) for name, seeds in values_of(gathered).items()}
    differences = differences_of(gathered)
    sentences = [
        _lead(gathered, spreads, differences, verdict),
        *_told(gathered, spreads, differences, verdict),
        *_plateau(gathered, spreads),
        *chosen_by_validation(gathered, verdict),
        *_missing(gathered),
    ]
    return " ".join(sentences)


def _lead(
    gathered: Gathered, spreads: Mapping[str, Spread], differences: Mapping[str, Difference], verdict: Verdict
) -> str:
    """Who leads, and by how much."""
    leader = spreads[verdict.leader]
    if len(spreads) == 1:
        return f"“{verdict.leader}” {_reads(leader, gathered)}."
    second = next(iter(verdict.ahead))
    score = gathered.score
    following = f"{_apart(verdict.ahead[second], score)} than the next, “{second}”"
    against = differences.get(verdict.leader)
    if gathered.baseline is not None and against is not None:
        compared = f"{_apart(against, score)} than “{gathered.baseline.name}”{_interval(against, score)}"
        if second != gathered.baseline.name:
            compared += f", {following}"
    else:
        compared = following
    how = "leads" if verdict.best is None else "is best"
    return f"“{verdict.leader}” {how}: it {_reads(leader, gathered)}, {compared}."


def _told(
    gathered: Gathered, spreads: Mapping[str, Spread], differences: Mapping[str, Difference], verdict: Verdict
) -> list[str]:
    """Which rows are told apart from the baseline, and how many seeds would tell the others."""
    if len(spreads) == 1:
        return []
    if all(spread.n == 1 for spread in spreads.values()):
        return [f"Each row has a single seed, so {_luck(gathered.score)}."]
    if gathered.baseline is None or not differences:
        return [] if verdict.best is not None else [verdict.why_not]
    name = gathered.baseline.name
    if all(it.sd is None for it in differences.values()):
        return [f"Too few seeds to know the spread: {_luck(gathered.score)}."]
    above = [row for row, it in differences.items() if it.told and it.mean > 0]
    below = [row for row, it in differences.items() if it.told and it.mean < 0]
    said = []
    if above and not (verdict.best is not None and above == [verdict.leader]):
        said.append(f"{_listed(above)} above “{name}” by more than chance.")
    if below and not (verdict.best == name and len(below) == len(differences)):
        said.append(f"{_listed(below)} below “{name}” by more than chance.")
    said += _open(name, differences) + _untested(name, differences)
    rival = next((row for row, it in verdict.ahead.items() if not it.told and row != name), None)
    if verdict.leader in above and rival is not None and verdict.best is None:
        said.append(f"Whether “{verdict.leader}” is better than “{rival}” is open{_seeds_needed(verdict, rival)}.")
    return said


def _open(baseline: str, differences: Mapping[str, Difference]) -> list[str]:
    """The rows that are not told apart from the baseline: not the same, but not known to differ."""
    left = {name: it for name, it in differences.items() if it.told is False}
    if not left:
        return []
    if len(left) <= 3:
        rows = ", ".join(f"“{name}” ({_signed(it.mean)}: {_needed(it)})" for name, it in left.items())
        return [f"Not told apart from “{baseline}” by so few seeds: {rows}."]
    soonest = min(left, key=lambda name: (left[name].more or 1_000, -abs(left[name].mean)))
    it = left[soonest]
    return [
        f"{len(left)} rows are not told apart from “{baseline}” by so few seeds; "
        f"the first to be told would be “{soonest}” ({_signed(it.mean)}: {_needed(it)})."
    ]


def _untested(baseline: str, differences: Mapping[str, Difference]) -> list[str]:
    """The rows of which nobody can say what chance did to them."""
    left = {name: it for name, it in differences.items() if it.told is None}
    single = [name for name, it in left.items() if it.sd is None]
    same = [name for name in left if name not in single]
    said = []
    if single:
        said.append(f"{_listed(single)} compared with “{baseline}” by a single seed, so the spread is unknown.")
    if same:
        said.append(
            f"{_listed(same)} as far from “{baseline}” in every seed, to the last digit: seeds that change nothing "
            "tell no spread."
        )
    return said


def _luck(score: Score) -> str:
    return f"a difference{' of a point or two' if score.unit == '%' else ''} may be luck"


def _needed(it: Difference) -> str:
    if it.more is None:
        return "more than 100 seeds would be needed" if it.mean else "no number of seeds would tell"
    return f"about {it.more} more seed{'' if it.more == 1 else 's'} would tell"


def _seeds_needed(verdict: Verdict, name: str) -> str:
    it = verdict.ahead[name]
    return "" if it.told is not False else f" ({_signed(it.mean)}: {_needed(it)})"


def _signed(points: float) -> str:
    return f"{points:+.2f}".replace("-", "\N{MINUS SIGN}")


def _listed(names: list[str]) -> str:
    if len(names) > 3:
        return f"{len(names)} rows are"
    quoted = [f"“{name}”" for name in names]
    return " and ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1]))) + (" is" if len(names) == 1 else " are")


def _plateau(gathered: Gathered, spreads: Mapping[str, Spread]) -> list[str]:
    """Where the values of a numeric axis next to the best one are not told apart from it."""
    sentences = []
    values = values_of(gathered)
    for axis in gathered.axes:
        rows = [row for row in gathered.rows if row.name in spreads and is_number(row.changes.get(axis))]
        along = {float(row.changes[axis]): row.name for row in rows}
        if len(along) < len(rows):  # something else differs as well
            continue
        if len(along) < 3:
            continue
        order = sorted(along)
        top = max(order, key=lambda value: spreads[along[value]].mean)
        others = compare({name: values[name] for name in along.values()}, along[top], step_of(gathered))
        # That nothing differs is claimed by each comparison alone: corrected for many, it would be said too easily.
        like = [value == top or _may_be_none(others[along[value]]) for value in order]
        low = high = order.index(top)
        while low > 0 and like[low - 1]:
            low -= 1
        while high < len(order) - 1 and like[high + 1]:
            high += 1
        if high > low:
            name = axis.rpartition(".")[2].replace("_", " ")
            inside = [others[along[value]] for value in order[low : high + 1] if value != top]
            most = max(max(abs(it.low or 0.0), abs(it.high or 0.0)) for it in inside)
            sentences.append(
                f"Between {order[low]:g} and {order[high]:g} the {name} makes no difference that these seeds can tell: "
                f"by their 95 % intervals it may be up to {_bound(most, gathered.score)}{_points(gathered.score)}."
            )
    return sentences


def _may_be_none(it: Difference) -> bool:
    return it.p is not None and it.p > LEVEL


def chosen_by_validation(gathered: Gathered, verdict: Verdict) -> list[str]:
    """What the validation part would have chosen, where that is another row than the leader by the test part."""
    spreads = {name: spread_of(seeds.values()) for name, seeds in values_of(gathered).items()}
    seen = {
        name: spread_of(seeds.values()).mean
        for name, seeds in values_of(gathered, "validation").items()
        if name in spreads
    }
    if len(seen) < 2 or len(seen) < len(spreads):
        return []
    chosen = max(seen, key=lambda name: seen[name])
    if seen[chosen] == seen[verdict.leader]:
        return []
    return [
        f"Chosen by validation {gathered.noun}, which is how to choose one to use, “{chosen}” is first: "
        f"{_value(spreads[chosen], gathered.score)} of the test {gathered.noun}."
    ]


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


def _reads(spread: Spread, gathered: Gathered) -> str:
    """What a row does, as the rest of a sentence."""
    score, noun = gathered.score, gathered.noun
    if score == ACCURACY:
        return f"reads {_value(spread, score)} of the test {noun} right"
    return f"has a {score.words} of {_value(spread, score)} on the test {noun}"


def _digits(score: Score) -> int:
    """Behind the point, in sentences."""
    return 1 if score.unit == "%" else score.digits


def _value(spread: Spread, score: Score) -> str:
    mean = score.show(spread.mean if score.higher_is_better else -spread.mean, _digits(score))
    if spread.sd is None:
        return f"{mean} (one seed)"
    return f"{mean} (sd {spread.sd:.{_digits(score)}f}, n = {spread.n})"


def _apart(against: Difference, score: Score) -> str:
    """How much more or less, whichever is the better."""
    more = (against.mean >= 0) == score.higher_is_better
    return f"{abs(against.mean):.{_digits(score)}f}{_points(score)} {'more' if more else 'less'}"


def _points(score: Score) -> str:
    return " points" if score.unit == "%" else ""


def _interval(against: Difference, score: Score) -> str:
    """The 95 % interval of a lead."""
    if against.low is None or against.high is None or against.mean < 0:
        return ""
    return f" (95 % interval {_bound(against.low, score)} to {_bound(against.high, score)}, n = {against.n})"


def _bound(points: float, score: Score) -> str:
    return f"{points:.{_digits(score)}f}".replace("-", "\N{MINUS SIGN}")
