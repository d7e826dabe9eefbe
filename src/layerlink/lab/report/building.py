"""A report on runs: a page that answers first, and the same as Markdown, CSV and SVG."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.report.answer import answer, verdict_of
from layerlink.lab.report.chance.verdict import Verdict
from layerlink.lab.report.figures.bars import OURS, PUBLISHED, Point, Reference, axis_chart, count_words, row_chart
from layerlink.lab.report.figures.curves import MOST_CURVES, curve_pictures, curve_runs, epochs_of
from layerlink.lab.report.files import write_csv, write_figures, write_markdown
from layerlink.lab.report.gather.records import Row, is_number
from layerlink.lab.report.gather.rows import Gathered, gather
from layerlink.lab.report.measured.comparison import Measurements, measure_rows
from layerlink.lab.report.measured.sections import model_sections, more_data
from layerlink.lab.report.page.page import Picture, Section, Table, write_sections
from layerlink.lab.report.tables.by_class import by_class_table
from layerlink.lab.report.tables.models import models_table
from layerlink.lab.report.tables.one_epoch import one_epoch_table
from layerlink.lab.report.tables.peers import peers_table
from layerlink.lab.report.tables.results import results_table
from layerlink.lab.report.tables.runs import differences_table, missing_table, runs_table, warnings_table
from layerlink.lab.report.tables.table import ReportTable
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import trusted_recipe_of_run

MOST_ROWS = 200  # in a picture
_FEWEST_PLACES = 3  # of a line along an axis
PAGE, MARKDOWN = "index.html", "report.md"


@dataclass(frozen=True)
class Report:
    """What was written.

    Args:
        answer: the sentences that answer the question.
        table: the results, as on the page.
        page: the HTML file.
        left_out: why models were not measured; empty where they were, or were not to be.
    """

    answer: str
    table: Table
    page: Path
    left_out: str = ""


def write_report(
    folders: Sequence[Path],
    out: Path | None = None,
    *,
    against: str | None = None,
    measure: int = 2,
    data: Path | None = None,
    trust_code: bool = False,
) -> Report:
    """Read the runs in ``folders`` and write the report.

    Args:
        folders: of runs or sweeps, or that hold such.
        out: where to; ``report`` in the first folder by default. Files of an earlier report are replaced.
        against: name of the row that the others are compared with; by default the sweep's first baseline, else the
            first row that learns from labels alone.
        measure: rows whose first seed is measured beside the teacher: best, baseline, then in order. 0: none.
        data: folder of the data, where they have moved since.
        trust_code: whether code that the folders name may be called, where this user did not make the runs.

    Raises:
        UsageError: where there is nothing to report on, or no row of that name.
        LayerlinkError: where a sweep's manifest is damaged, or a file cannot be written.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file, and a report needs a folder. Choose another: --out FOLDER")
    gathered = gather(folders)
    if against is not None:
        gathered = gathered.compared_with(against)
    out = folders[0] / "report" if out is None else out
    if out.is_symlink():
        raise UsageError(
            f"{out} is a link, and a report is written into a folder. Name the folder itself: --out FOLDER"
        )
    verdict = verdict_of(gathered)
    measurements, left_out = _measured(gathered, verdict, measure, data, trust_code)
    results = results_table(gathered, verdict)
    missing, once = missing_table(gathered), one_epoch_table(gathered)
    models = models_table(measurements) if measurements else None
    every = (f(gathered) for f in (peers_table, by_class_table, differences_table, runs_table, warnings_table))
    others = [table for table in every if table]
    tables = [results, *others, *(table for table in (missing, once, models) if table)]
    sections = [
        Section(results.heading, results.shown, tuple(_score_pictures(gathered))),
        *([Section(missing.heading, missing.shown)] if missing else []),
        *_curve_sections(gathered, verdict),
        *([Section(once.heading, once.shown)] if once else []),
        *model_sections(gathered, measurements, left_out, verdict),
        *(Section(table.heading, table.shown) for table in others),
    ]
    title = f"{gathered.title}: {gathered.question}" if gathered.question else gathered.title
    said = answer(gathered)
    provenance = _provenance(gathered, folders, out, against, measured=measure > 0)
    _write(out, title, said, sections, provenance, [*tables, *more_data(measurements)])
    return Report(said, results.shown, out / PAGE, left_out)


def _write(
    out: Path,
    title: str,
    said: str,
    sections: Sequence[Section],
    provenance: Sequence[tuple[str, str]],
    tables: Sequence[ReportTable],
) -> None:
    for table in tables:
        write_csv(out / "tables" / f"{table.name}.csv", table.data, within=out)
    figures = write_figures(out / "figures", sections, within=out)
    write_markdown(out / MARKDOWN, title=title, answer=said, sections=sections, figures=figures, provenance=provenance)
    write_sections(out / PAGE, title=title, answer=said, sections=sections, provenance=provenance)


def _measured(
    gathered: Gathered, verdict: Verdict | None, count: int, data: Path | None, trust_code: bool
) -> tuple[Measurements | None, str]:
    """The measurements, and why there are none, or none of some rows; "" where nothing was left out."""
    if count <= 0 or verdict is None:
        return None, ""
    ready = [row for row in gathered.rows if row.finished and row.finished[0].recipe is not None]
    chosen, foreign = [], []
    for row in _chosen(ready, verdict, count):
        try:
            trusted_recipe_of_run(RunFolder(row.finished[0].folder), trust_code=trust_code)
            chosen.append(row)
        except LayerlinkError as error:
            foreign.append(f"“{row.name}” was not measured: {' '.join(str(error).split())}.")
    if foreign and not chosen:
        return None, " ".join(foreign)
    try:
        return measure_rows(gathered, chosen, data, trust_code=trust_code), " ".join(foreign)
    except (LayerlinkError, OSError, RuntimeError) as error:
        why = f"Teacher and students were not measured: {' '.join(str(error).split())}"
        return None, " ".join([why, *foreign])


def _chosen(rows: Sequence[Row], verdict: Verdict | None, count: int) -> list[Row]:
    """So many of the rows, in their order: the leader, the baseline, then the first others."""
    first = [row for row in rows if row.baseline or (verdict is not None and row.name == verdict.leader)]
    chosen = [*first, *(row for row in rows if row not in first)][:count]
    return [row for row in rows if row in chosen]


def _score_pictures(gathered: Gathered) -> list[Picture]:
    """Along every numeric axis, then row by row where an axis does not tell all of it."""
    references, score = _references(gathered), gathered.score
    pictures, rows = [], {row.name for row in gathered.rows if row.values()}
    told = False
    for axis in gathered.axes:
        points = _axis_points(gathered, axis)
        if points:
            chart = axis_chart(points, axis=axis, references=references, score=score)
            pictures.append(Picture(f"Test {score.words} against {axis}", chart, wide=True))
            # The baseline is a line there.
            told |= rows - {point.row for point in points} <= {row.name for row in gathered.rows if row.baseline}
    every = [Point(row.name, row.values(), row.published) for row in gathered.rows if row.values()]
    some = f" (the first {MOST_ROWS} of {len(every):,})" if len(every) > MOST_ROWS else ""
    if every and not told:
        chart = row_chart(every[:MOST_ROWS], references=references, score=score)
        pictures.append(Picture(f"Test {score.words}, row by row{some}", chart, wide=True))
    return pictures


def _axis_points(gathered: Gathered, axis: str) -> list[Point]:
    """Rows with a number on the axis; those that differ in something else too are series of their own.

    A series of fewer than three places says no more than its rows do, and is left out.
    """
    points = []
    for row in gathered.rows:
        x = row.changes.get(axis)
        if row.values() and x is not None and is_number(x):
            rest = {name: value for name, value in row.changes.items() if name != axis}
            series = ", ".join(f"{name.rpartition('.')[2]}={_short(value)}" for name, value in rest.items())
            points.append(Point(row.name, row.values(), row.published, float(x), series))
    places = {name: {point.x for point in points if point.series == name} for name in {it.series for it in points}}
    points = [point for point in points if len(places[point.series]) >= _FEWEST_PLACES]
    several = len({point.series for point in points}) > 1
    return [
        Point(point.row, point.seeds, point.published, point.x, (point.series or OURS) if several else OURS)
        for point in points
    ]


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _references(gathered: Gathered) -> list[Reference]:
    """The teacher's score, from its own run or where all students read the same, and the baseline's mean."""
    found, name = [], gathered.score.name
    value = gathered.teacher.number(f"test_{name}") if gathered.teacher else None
    read = {run.number(f"teacher_test_{name}") for run in gathered.runs} - {None}
    if value is None and len(read) == 1:
        value = read.pop()
    if value is not None:
        found.append(Reference("teacher", value))
    baseline = gathered.baseline
    if baseline is not None and (values := list(baseline.values().values())):
        line = baseline.name if baseline.name not in ("teacher", OURS, PUBLISHED) else f"{baseline.name} (baseline)"
        found.append(Reference(line, sum(values) / len(values)))
    return found


def _curve_sections(gathered: Gathered, verdict: Verdict | None) -> list[Section]:
    trained = [row for row in gathered.rows if epochs_of(row) > 1]
    rows = _chosen(trained, verdict, MOST_CURVES)
    pictures = curve_pictures(rows, gathered.score)
    if not pictures:
        return []
    seeds = count_words([len(curve_runs(row)) for row in rows])
    text = (
        f"A line is the mean of a row's finished seeds, {seeds}. Terms are of the training {gathered.noun} and raw: "
        "not multiplied by their weights."
    )
    if len(rows) < len(trained):
        text += f" Drawn are {len(rows)} of {len(trained)} rows: the leader, the baseline, then the first others."
    return [Section("Epoch by epoch", pictures=tuple(pictures), text=text)]


def _provenance(
    gathered: Gathered, folders: Sequence[Path], out: Path, against: str | None, *, measured: bool
) -> list[tuple[str, str]]:
    """Commands that repeat it, then versions and hardware; where runs differ, each with its number of runs."""
    found = [("repeat", command) for command in gathered.commands]
    how = [*([] if against is None else ["--against", against]), *([] if measured else ["--no-measure"])]
    found.append(("this report", shlex.join(["layerlink", "report", *map(str, folders), *how, "--out", str(out)])))
    found.append(("one run", "layerlink run FOLDER/recipe.yaml --out ANOTHER"))
    runs = [*([gathered.teacher] if gathered.teacher else []), *gathered.runs]
    for name in ("layerlink", "commit", "python", "packages", "platform", "hardware", "device", "precision"):
        values = Counter(_words(run.environment[name]) for run in runs if run.environment.get(name) is not None)
        found += [(name, text if len(values) == 1 else f"{text}   ({count} runs)") for text, count in values.items()]
    return found + [("left out", note) for note in gathered.notes]


def _words(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)
