"""The score of each class alone, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layerlink.lab.report.chance.spread import Spread, spread_of
from layerlink.lab.report.gather.records import RunRecord
from layerlink.lab.report.gather.rows import Gathered
from layerlink.lab.report.page.page import Cell, Table
from layerlink.lab.report.tables.table import ReportTable, number_cell, spread_cell

_DIGITS = 1


def by_class_table(gathered: Gathered) -> ReportTable | None:
    """A line a class, a column a row of runs, the teacher first; None where no run has such scores."""
    rows = {row.name: [run.result.get("by_class", {}) for run in row.finished] for row in gathered.rows}
    rows = {name: [scores for scores in found if scores] for name, found in rows.items()}
    rows = {name: found for name, found in rows.items() if found}
    if not rows:
        return None
    teacher = _teacher(gathered)
    classes = list(dict.fromkeys(name for found in rows.values() for scores in found for name in scores))
    lines: list[tuple[str | float | int | Cell, ...]] = []
    data: list[dict[str, Any]] = []
    for name in classes:
        spreads = {row: _spread([scores.get(name) for scores in found]) for row, found in rows.items()}
        own = teacher.get(name)
        cells = (spread_cell(spread, _DIGITS) for spread in spreads.values())
        lines.append((name, *((number_cell(own, f"{{:.{_DIGITS}f}}"),) if teacher else ()), *cells))
        line: dict[str, Any] = {"class": name, "teacher": own}
        for row, spread in spreads.items():
            line |= {row: spread and spread.mean, f"{row} sd": spread and spread.sd}
        data.append(line)
    seeds = sorted({len(found) for found in rows.values()})
    counts = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
    score = gathered.score
    note = (
        f"Test {score.words} of each class in {score.unit or 'its unit'}, mean ± standard deviation of n = {counts} "
        f"seed{'' if counts == '1' else 's'}{'; the teacher is one run' if teacher else ''}. "
        "-: neither true nor answered."
    )
    columns = ("class", *(("teacher",) if teacher else ()), *rows)
    return ReportTable("classes", "Class by class", Table(columns, tuple(lines), note), tuple(data))


def _teacher(gathered: Gathered) -> Mapping[str, float | None]:
    """The teacher's scores: of its own run, or as a student's run read them."""
    runs: Sequence[RunRecord] = [*([gathered.teacher] if gathered.teacher else []), *gathered.runs]
    own = gathered.teacher.result.get("by_class", {}) if gathered.teacher else {}
    return own or next((run.result["teacher_by_class"] for run in runs if run.result.get("teacher_by_class")), {})


def _spread(values: Sequence[float | None]) -> Spread | None:
    there = [value for value in values if value is not None]
    return spread_of(there) if there else None
