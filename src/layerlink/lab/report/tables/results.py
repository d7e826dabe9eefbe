"""The results: a line a row, with what chance may have done."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from layerlink.lab.report.answer import differences_of, values_of
from layerlink.lab.report.chance.difference import Difference
from layerlink.lab.report.chance.spread import Spread, spread_of
from layerlink.lab.report.chance.verdict import Verdict, flattery, p_words, turned
from layerlink.lab.report.gather.records import Row, RunRecord
from layerlink.lab.report.gather.rows import Gathered
from layerlink.lab.report.page.page import Cell, Table
from layerlink.lab.report.tables.table import ReportTable, number_cell, spread_cell
from layerlink.tasks import Score

RULE = (
    "Rows are compared seed by seed: by the paired t-test, or from enough pairs on by the exact test that flips signs; "
    "where they share no seeds by Welch's. p is two-sided and corrected for the number of rows (Holm); up to 0.05 the "
    "difference is called more than chance. The interval is that of one difference alone. Chance is that of seeds: the "
    "test {noun} are the same in all."
)


def results_table(gathered: Gathered, verdict: Verdict | None) -> ReportTable:
    """One line a row: ours beside the source, the difference to the baseline, what it took."""
    baseline = gathered.baseline
    differences = differences_of(gathered)
    score = gathered.score
    stats = [_RowNumbers(row, differences.get(row.name), score) for row in gathered.rows]
    unit = f", {score.unit}" if score.unit else ""
    columns: list[tuple[str, Callable[[_RowNumbers], str | Cell]]] = [
        ("row", lambda it: it.row.name),
        (f"test {score.words}{unit}", lambda it: spread_cell(it.test, score.digits)),
        ("n", lambda it: _count_cell(it.row)),
    ]
    if any(row.published is not None for row in gathered.rows):
        digits = _digits_given(gathered) if unit else score.digits
        columns.append((f"published{unit}", lambda it: number_cell(it.row.published, f"{{:.{digits}f}}")))
    if baseline is not None and len(gathered.rows) > 1:
        points = ", points" if score.unit == "%" else ""
        columns.append(
            (f"minus “{baseline.name}”{points}", lambda it: _difference_cell(it.against, it.test, score.digits))
        )
        if any(it.against and it.against.p is not None for it in stats):
            columns += [
                ("95 % interval", lambda it: _interval_cell(it.against, score.digits)),
                ("p", lambda it: _p_cell(it.against)),
            ]
    columns.append((f"validation{unit}", lambda it: spread_cell(it.validation, score.digits)))
    if any(it.agreement for it in stats):
        columns.append(("as teacher, %", lambda it: spread_cell(it.agreement)))
    if any(it.nll for it in stats):
        columns.append(("NLL, nats", lambda it: spread_cell(it.nll, 3)))
    if any(it.ece for it in stats):
        columns.append(("ECE, %", lambda it: spread_cell(it.ece)))
    columns += [
        ("training, s", lambda it: spread_cell(it.seconds, 0)),
        ("warnings", lambda it: Cell(str(it.warnings), it.warnings)),
    ]
    names = [row.name for row in gathered.rows]
    table = Table(
        tuple(name for name, _ in columns),
        tuple(tuple(entry(it) for _, entry in columns) for it in stats),
        note=_results_note(gathered, verdict, stats),
        best=names.index(verdict.best) if verdict and verdict.best is not None else None,
    )
    return ReportTable("results", "Results", table, tuple(it.data() for it in stats))


class _RowNumbers:
    """A row's statistics."""

    def __init__(self, row: Row, better: Difference | None, score: Score) -> None:
        self.row = row
        self.score = score
        self.test = _spread(row, f"test_{score.name}")
        self.validation = _spread(row, f"validation_{score.name}")
        self.agreement = _spread(row, "agreement")
        self.nll = _spread(row, "test_nll")
        self.ece = _spread(row, "test_ece")
        self.seconds = _spread(row, "train_seconds")
        self.against = better if better is None or score.higher_is_better else turned(better)
        self.warnings = sum(len(run.warnings) for run in row.runs)

    def data(self) -> dict[str, Any]:
        """For CSV."""
        data: dict[str, Any] = {"row": self.row.name, "n": len(self.row.finished)}
        for name, spread in (
            (f"test_{self.score.name}", self.test),
            (f"validation_{self.score.name}", self.validation),
            ("agreement", self.agreement),
            ("test_nll", self.nll),
            ("test_ece", self.ece),
            ("train_seconds", self.seconds),
        ):
            data[f"{name}_mean"] = spread.mean if spread else None
            data[f"{name}_sd"] = spread.sd if spread else None
        found = self.against
        return data | {
            "published": self.row.published,
            "source": self.row.source,
            "difference_mean": found.mean if found else None,
            "difference_sd": found.sd if found else None,
            "difference_n": found.n if found else None,
            "difference_paired": found.paired if found else None,
            "difference_low": found.low if found else None,
            "difference_high": found.high if found else None,
            "difference_test": found.test if found else None,
            "difference_p": found.p if found else None,
            "difference_p_corrected": found.corrected if found else None,
            "difference_p_exact": found.exact if found else None,
            "more_seeds": found.more if found else None,
            "warnings": self.warnings,
            "runs": len(self.row.runs),
            "changes": json.dumps(dict(self.row.changes), ensure_ascii=False, default=str),
        }


def _spread(row: Row, name: str) -> Spread | None:
    values = row.values(name)
    return spread_of(values.values()) if values else None


def _count_cell(row: Row) -> Cell:
    counted, planned = len(row.finished), len(row.runs)
    return Cell(str(counted) if counted == planned else f"{counted} of {planned}", counted)


def _difference_cell(found: Difference | None, own: Spread | None, digits: int) -> Cell:
    """The difference, with what it is over where that is not all of the row's seeds."""
    if found is None:
        return Cell("-")
    sd = "" if found.sd is None else f" ± {found.sd:.{digits}f}"
    over = "" if found.paired else " (unpaired)"
    if found.paired and own is not None and found.n < own.n:
        over = f" (n = {found.n})"
    # A minus sign as wide as the plus.
    return Cell(f"{found.mean:+.{digits}f}{sd}{over}".replace("-", "\N{MINUS SIGN}"), found.mean)


def _interval_cell(found: Difference | None, digits: int) -> Cell:
    if found is None or found.low is None or found.high is None:
        return Cell("-")
    return Cell(f"{found.low:+.{digits}f} to {found.high:+.{digits}f}".replace("-", "\N{MINUS SIGN}"), found.low)


def _p_cell(found: Difference | None) -> Cell:
    if found is None or found.corrected is None:
        return Cell("-")
    return Cell(p_words(found.corrected).removeprefix("p ").removeprefix("= "), found.corrected)


def _results_note(gathered: Gathered, verdict: Verdict | None, stats: Sequence[_RowNumbers]) -> str:
    finished = [run for run in gathered.runs if run.state == "finished"]
    counts, noun = {int(run.number("test_images") or 0) for run in finished}, gathered.noun
    parts = []
    if finished:
        counted = f"{counts.pop():,} test {noun}" if len(counts) == 1 else f"the test {noun}"
        parts.append(
            f"Mean ± sample standard deviation over n seeds; n = 1 is a single seed, without a spread. Each run read "
            f"{counted} once, {_epoch_read(finished, noun)}."
        )
    measures = [
        *(["NLL is the mean negative log-likelihood"] if any(it.nll for it in stats) else []),
        *(["ECE is the expected calibration error over 15 bins"] if any(it.ece for it in stats) else []),
    ]
    parts += [f"{', '.join(measures)}."] if measures else []
    sources = dict.fromkeys(row.source for row in gathered.rows if row.source)
    if sources:
        parts.append(f"Published: {'; '.join(sources)}.")
    if verdict is not None:
        parts.append(verdict.why_not or f"“{verdict.best}” is marked: it is told apart from every other row.")
        parts += _choice(gathered, verdict)
    if any(it.against and it.against.p is not None for it in stats):
        parts.append(RULE.format(noun=noun))
    if any(it.against and it.against.exact is not None and it.against.test != "sign flip" for it in stats):
        parts.append("The exact test of every difference stands in tables/results.csv.")
    parts += _unlike(gathered)
    return " ".join(parts)


def _epoch_read(finished: Sequence[RunRecord], noun: str) -> str:
    """Which epoch's weights read the test part."""
    last = [run.recipe is not None and run.recipe.training.keep == "last" for run in finished]
    if all(last):
        return "with the weights of its last epoch"
    best = f"with the epoch that did best on validation {noun}"
    return f"{best}; {sum(last)} of {len(last)} runs with their last one" if any(last) else best


def _digits_given(gathered: Gathered) -> int:
    """Behind the point of the published numbers, as their source gives them: one or two."""
    numbers = [row.published for row in gathered.rows if row.published is not None]
    return 1 if all(number == round(number, 1) for number in numbers) else 2


def _choice(gathered: Gathered, verdict: Verdict) -> list[str]:
    """What it does to the leader's number that it was chosen by it."""
    values = values_of(gathered)
    points = flattery(values)
    if len(values) < 2:
        return []
    first = f"“{verdict.leader}” is first of {len(values)} rows by the test {gathered.noun} that are told here"
    if points is None:
        how = "high" if gathered.score.higher_is_better else "low"
        return [f"{first}, and so reads too {how}; by how much is unknown with so few seeds in common."]
    return [
        f"{first}: were all of them equally good, the first would read {_too_good(points, gathered.score)} by chance "
        "alone."
    ]


def _too_good(points: float, score: Score) -> str:
    how = "high" if score.higher_is_better else "low"
    return f"{points:.{score.digits}f}{' points' if score.unit == '%' else ''} too {how}"


def _unlike(gathered: Gathered) -> list[str]:
    """Seeds whose runs differ in more than the row from the baseline's: in the machine, or in the code."""
    baseline = gathered.baseline
    known = {} if baseline is None else {run.seed: run for run in baseline.finished}
    others = [run for row in gathered.rows if row is not baseline for run in row.finished if run.seed in known]
    apart = [run for run in others if run.processor != known[run.seed].processor]
    code = sum(_code(run) != _code(known[run.seed]) for run in others)
    said = []
    if apart and baseline is not None:
        are = f"{len(apart)} run{' was' if len(apart) == 1 else 's were'}"
        said.append(
            f"{are} trained on another kind of processor, or in another precision, than “{baseline.name}” with the "
            "same seed: such runs are no pair, and where a row has no others the machine may be what differs."
        )
    if code and baseline is not None:
        are = f"{code} run{' is' if code == 1 else 's are'}"
        said.append(f"{are} of another commit or of other versions than “{baseline.name}” with the same seed.")
    return said


def _code(run: RunRecord) -> tuple[Any, ...]:
    return tuple(run.environment.get(name) for name in ("layerlink", "commit", "packages"))
