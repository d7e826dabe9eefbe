"""The tables of a report: as the page and Markdown show them, and with every digit for CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from layerlink.lab.report.answer import differences_of, values_of
from layerlink.lab.report.chance.difference import Difference
from layerlink.lab.report.chance.spread import Spread, spread_of
from layerlink.lab.report.chance.verdict import Verdict, flattery, p_words
from layerlink.lab.report.gather.records import Row, RunRecord
from layerlink.lab.report.gather.rows import Gathered, recipe_differences
from layerlink.lab.report.measured.comparison import Measured, Measurements
from layerlink.lab.report.page.page import Cell, Table

RULE = (
    "Rows are compared seed by seed: by the paired t-test, or from enough pairs on by the exact test that flips signs; "
    "where they share no seeds by Welch's. p is two-sided and corrected for the number of rows (Holm); up to 0.05 the "
    "difference is called more than chance. The interval is that of one difference alone."
)


@dataclass(frozen=True)
class ReportTable:
    """A table of the report.

    Args:
        name: of its CSV file, without the ending.
        heading: of its section.
        shown: as it is read.
        data: as it is computed with: one mapping a row, the same names in each.
    """

    name: str
    heading: str
    shown: Table
    data: tuple[dict[str, Any], ...]


def results_table(gathered: Gathered, verdict: Verdict | None) -> ReportTable:
    """One line a row: ours beside the source, the difference to the baseline, what it took."""
    baseline = gathered.baseline
    differences = differences_of(gathered)
    stats = [_RowNumbers(row, differences.get(row.name)) for row in gathered.rows]
    columns: list[tuple[str, Callable[[_RowNumbers], str | Cell]]] = [
        ("row", lambda it: it.row.name),
        ("test accuracy, %", lambda it: _spread_cell(it.test)),
        ("n", lambda it: _count_cell(it.row)),
    ]
    if any(row.published is not None for row in gathered.rows):
        columns.append(("published, %", lambda it: _number_cell(it.row.published, "{:.1f}")))
    if baseline is not None and len(gathered.rows) > 1:
        columns.append((f"minus “{baseline.name}”, points", lambda it: _difference_cell(it.against)))
        if any(it.against and it.against.p is not None for it in stats):
            columns += [("95 % interval", lambda it: _interval_cell(it.against)), ("p", lambda it: _p_cell(it.against))]
    columns.append(("validation, %", lambda it: _spread_cell(it.validation)))
    if any(it.agreement for it in stats):
        columns.append(("as teacher, %", lambda it: _spread_cell(it.agreement)))
    if any(it.nll for it in stats):
        columns.append(("NLL, nats", lambda it: _spread_cell(it.nll, 3)))
    if any(it.ece for it in stats):
        columns.append(("ECE, %", lambda it: _spread_cell(it.ece)))
    columns += [
        ("training, s", lambda it: _spread_cell(it.seconds, 0)),
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

    def __init__(self, row: Row, against: Difference | None) -> None:
        self.row = row
        self.test = _spread(row, "test_accuracy")
        self.validation = _spread(row, "validation_accuracy")
        self.agreement = _spread(row, "agreement")
        self.nll = _spread(row, "test_nll")
        self.ece = _spread(row, "test_ece")
        self.seconds = _spread(row, "train_seconds")
        self.against = against
        self.warnings = sum(len(run.warnings) for run in row.runs)

    def data(self) -> dict[str, Any]:
        """For CSV."""
        data: dict[str, Any] = {"row": self.row.name, "n": len(self.row.finished)}
        for name, spread in (
            ("test_accuracy", self.test),
            ("validation_accuracy", self.validation),
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


def _spread_cell(spread: Spread | None, digits: int = 2) -> Cell:
    if spread is None:
        return Cell("-")
    sd = "" if spread.sd is None else f" ± {spread.sd:,.{digits}f}"
    return Cell(f"{spread.mean:,.{digits}f}{sd}", spread.mean)


def _count_cell(row: Row) -> Cell:
    counted, planned = len(row.finished), len(row.runs)
    return Cell(str(counted) if counted == planned else f"{counted} of {planned}", counted)


def _difference_cell(found: Difference | None) -> Cell:
    if found is None:
        return Cell("-")
    sd = "" if found.sd is None else f" ± {found.sd:.2f}"
    # A minus sign as wide as the plus.
    return Cell(f"{found.mean:+.2f}{sd}".replace("-", "\N{MINUS SIGN}"), found.mean)


def _interval_cell(found: Difference | None) -> Cell:
    if found is None or found.low is None or found.high is None:
        return Cell("-")
    return Cell(f"{found.low:+.2f} to {found.high:+.2f}".replace("-", "\N{MINUS SIGN}"), found.low)


def _p_cell(found: Difference | None) -> Cell:
    if found is None or found.corrected is None:
        return Cell("-")
    return Cell(p_words(found.corrected).removeprefix("p ").removeprefix("= "), found.corrected)


def _number_cell(value: float | None, form: str) -> Cell:
    return Cell("-") if value is None else Cell(form.format(value), value)


def _results_note(gathered: Gathered, verdict: Verdict | None, stats: Sequence[_RowNumbers]) -> str:
    finished = [run for run in gathered.runs if run.state == "finished"]
    images = {int(run.number("test_images") or 0) for run in finished}
    parts = []
    if finished:
        counted = f"{images.pop():,} test images" if len(images) == 1 else "the test images"
        parts.append(
            f"Mean ± sample standard deviation over n seeds; n = 1 is a single seed, without a spread. Each run read "
            f"{counted} once, with the epoch that did best on validation images."
        )
    if any(it.nll for it in stats):
        parts.append("NLL is the mean negative log-likelihood, ECE the expected calibration error over 15 bins.")
    sources = dict.fromkeys(row.source for row in gathered.rows if row.source)
    if sources:
        parts.append(f"Published: {'; '.join(sources)}.")
    if verdict is not None:
        parts.append(verdict.why_not or f"“{verdict.best}” is marked: it is told apart from every other row.")
        parts += _choice(gathered, verdict)
    if any(it.against and it.against.p is not None for it in stats):
        parts += [RULE, *_unlike_machines(gathered)]
    return " ".join(parts)


def _choice(gathered: Gathered, verdict: Verdict) -> list[str]:
    """What it does to the leader's number that it was chosen by it."""
    values = values_of(gathered.rows)
    points = flattery(values)
    if points is None:
        return []
    return [
        f"“{verdict.leader}” is first of {len(values)} rows by the test images that are told here: were all of them "
        f"equally good, the first would read {points:.2f} points too high by chance alone."
    ]


def _unlike_machines(gathered: Gathered) -> list[str]:
    """Pairs whose runs are of different processors: their arithmetic differs in the last digits, and so do runs."""
    baseline = gathered.baseline
    known = {} if baseline is None else {run.seed: run.environment.get("hardware") for run in baseline.finished}
    unlike = sum(
        known[run.seed] != run.environment.get("hardware")
        for row in gathered.rows
        if row is not baseline
        for run in row.finished
        if run.seed in known
    )
    if not unlike:
        return []
    return [f"{unlike} pair{' is' if unlike == 1 else 's are'} of different hardware, which makes them less alike."]


def missing_table(gathered: Gathered) -> ReportTable | None:
    """The runs that do not count, each with its reason; None where all do."""
    found = [(row.name, run) for row in gathered.rows for run in row.runs if run.state != "finished"]
    if not found:
        return None
    rows = tuple((name, run.seed, run.state, run.reason, str(run.folder)) for name, run in found)
    columns = ("row", "seed", "state", "reason", "folder")
    data = tuple(dict(zip(columns, row, strict=True)) for row in rows)
    return ReportTable("missing", "Runs that do not count", Table(columns, rows), data)


def runs_table(gathered: Gathered) -> ReportTable:
    """One line a run, the teacher's first."""
    runs = [(row.name, run) for row in gathered.rows for run in row.runs]
    if gathered.teacher is not None:
        runs.insert(0, ("teacher", gathered.teacher))
    columns = ("row", "seed", "state", "test, %", "validation, %", "kept epoch", "training, s", "warnings", "folder")
    rows = tuple(
        (
            name,
            run.seed,
            run.state,
            _number_cell(run.number("test_accuracy"), "{:.2f}"),
            _number_cell(run.number("validation_accuracy"), "{:.2f}"),
            _kept(run),
            _number_cell(run.number("train_seconds"), "{:,.0f}"),
            len(run.warnings),
            str(run.folder),
        )
        for name, run in runs
    )
    data = tuple(
        {"row": name, "seed": run.seed, "state": run.state, "reason": run.reason, "folder": str(run.folder)}
        | {key: run.number(key) for key in _RUN_NUMBERS}
        | {"warnings": len(run.warnings), "command": run.environment.get("command", "")}
        for name, run in runs
    )
    return ReportTable("runs", "Every run", Table(columns, rows), data)


_RUN_NUMBERS = (
    *("test_accuracy", "validation_accuracy", "teacher_test_accuracy", "agreement", "epoch", "epochs"),
    *("test_nll", "test_ece", "train_seconds", "train_images", "validation_images", "test_images", "parameters"),
)


def _kept(run: RunRecord) -> Cell:
    epoch, epochs = run.number("epoch"), run.number("epochs")
    return Cell("-") if epoch is None or epochs is None else Cell(f"{epoch:.0f} of {epochs:.0f}", epoch)


def warnings_table(gathered: Gathered) -> ReportTable | None:
    """What the runs warned of; None where no run did."""
    found = [(row.name, run.seed, text) for row in gathered.rows for run in row.runs for text in run.warnings]
    if not found:
        return None
    rows = tuple((name, seed, text) for name, seed, text in found)
    data = tuple({"row": name, "seed": seed, "warning": text} for name, seed, text in found)
    return ReportTable("warnings", "Warnings", Table(("row", "seed", "warning"), rows), data)


def differences_table(gathered: Gathered) -> ReportTable | None:
    """The recipe's fields in which rows differ; None where they do not."""
    differences = recipe_differences(gathered.rows)
    fields = list(dict.fromkeys(name for found in differences.values() for name in found))
    if not fields:
        return None
    rows = tuple((name, *(_value(found.get(field)) for field in fields)) for name, found in differences.items())
    data = tuple(
        {"row": name} | {field: _words(found.get(field)) for field in fields} for name, found in differences.items()
    )
    note = "Everything else is the same in all recipes, but for the seed and where the images lie."
    return ReportTable("recipes", "What differs", Table(("row", *fields), rows, note), data)


def _value(value: Any) -> str | Cell:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number:
        return Cell(_words(value), value)
    if isinstance(value, list) and value:
        # A line may end between links, not inside of one.
        return ", ".join(str(item).replace(" ", "\N{NO-BREAK SPACE}") for item in value)
    return _words(value)


def _words(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def models_table(measurements: Measurements) -> ReportTable:
    """Teacher and students: size, arithmetic, latency, what they answer."""
    models = [measurements.teacher, *measurements.students]
    batches = [latency.batch for latency in measurements.teacher.latency]
    columns = (
        *("model", "parameters", "MFLOP an image", "weights, MB"),
        *(f"batch of {batch}, ms" for batch in batches),
        *("test accuracy, %", "as teacher, %"),
    )
    rows: tuple[tuple[str | int | Cell, ...], ...] = tuple(
        (
            f"{it.name} ({it.model})",
            it.parameters,
            Cell(f"{it.flops / 1e6:,.1f}", it.flops),
            Cell(f"{it.size / 1e6:,.2f}", it.size),
            *(Cell(f"{each.median:.3g} ({each.low:.3g} to {each.high:.3g})", each.median) for each in it.latency),
            Cell(f"{it.accuracy:.2f}", it.accuracy),
            _number_cell(it.agreement, "{:.2f}"),
        )
        for it in models
    )
    note = (
        f"One run a model: each row's first seed. Latency: median and quartiles of {_passes(models)} forward passes "
        f"after a warm-up, on {measurements.conditions}. A multiplication and an addition are two FLOPs."
    )
    return ReportTable("models", "Teacher against student", Table(columns, rows, note), tuple(map(_model_data, models)))


def _passes(models: Sequence[Measured]) -> str:
    counts = [latency.passes for model in models for latency in model.latency]
    return f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else str(counts[0])


def _model_data(it: Measured) -> dict[str, Any]:
    data: dict[str, Any] = {"name": it.name, "model": it.model, "parameters": it.parameters, "flops": it.flops}
    data |= {"weights_bytes": it.size, "test_accuracy": it.accuracy, "agreement": it.agreement}
    for latency in it.latency:
        for name in ("median", "low", "high", "passes"):
            unit = "" if name == "passes" else "_ms"
            data[f"batch_{latency.batch}_{name}{unit}"] = getattr(latency, name)
    return data
