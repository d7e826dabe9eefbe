"""Runs and recipes: every run, those that do not count, their warnings, what tells recipes apart."""

from __future__ import annotations

from typing import Any

from layerlink.lab.report.gather.records import RunRecord
from layerlink.lab.report.gather.rows import Gathered, recipe_differences
from layerlink.lab.report.page.page import Cell, Table
from layerlink.lab.report.tables.table import ReportTable, number_cell
from layerlink.tasks import Score


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
    score = gathered.score
    unit, shown = f", {score.unit}" if score.unit else "", f"{{:.{score.digits}f}}"
    columns = (
        *("row", "seed", "state", f"test{unit}", f"validation{unit}", "kept epoch", "training, s"),
        *("warnings", "folder"),
    )
    rows = tuple(
        (
            name,
            run.seed,
            run.state,
            number_cell(run.number(f"test_{score.name}"), shown),
            number_cell(run.number(f"validation_{score.name}"), shown),
            _kept(run),
            number_cell(run.number("train_seconds"), "{:,.0f}"),
            len(run.warnings),
            str(run.folder),
        )
        for name, run in runs
    )
    data = tuple(
        {"row": name, "seed": run.seed, "state": run.state, "reason": run.reason, "folder": str(run.folder)}
        | {key: run.number(key) for key in (*_scores(score), *_RUN_NUMBERS)}
        | {"processor": run.processor, "warnings": len(run.warnings), "command": run.environment.get("command", "")}
        for name, run in runs
    )
    return ReportTable("runs", "Every run", Table(columns, rows), data)


def _scores(score: Score) -> tuple[str, ...]:
    return f"test_{score.name}", f"validation_{score.name}", f"teacher_test_{score.name}"


_RUN_NUMBERS = (
    *("agreement", "epoch", "epochs"),
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
    note = f"Everything else is the same in all recipes, but for the seed and where the {gathered.noun} lie."
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
