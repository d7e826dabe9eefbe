"""What rows of one epoch read in it: numbers, where a curve would be a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layerlink.lab.report.chance.spread import Spread, spread_of
from layerlink.lab.report.figures.curves import MOST_TERMS, curve_runs, epochs_of, raw_name
from layerlink.lab.report.gather.records import Row
from layerlink.lab.report.gather.rows import Gathered
from layerlink.lab.report.page.page import Cell, Table
from layerlink.lab.report.tables.table import ReportTable, spread_cell
from layerlink.lab.run.folder import is_term

_HARD, _SOFT = "hard", "soft"


def one_epoch_table(gathered: Gathered) -> ReportTable | None:
    """A line a row that trained for one epoch; None where none did."""
    rows = {row.name: _spreads(row) for row in gathered.rows if epochs_of(row) == 1}
    if not rows:
        return None
    score = gathered.score
    unit = f", {score.unit}" if score.unit else ""
    scores = {
        f"{part}{unit}": f"{key}_{score.name}" for part, key in (("validation", "validation"), ("training", "train"))
    }
    shown = {heading: key for heading, key in scores.items() if any(key in it for it in rows.values())}
    terms = [name for name in (_HARD, _SOFT) if any(name in it for it in rows.values())]
    links = any(_links(it) for it in rows.values())
    lines: tuple[tuple[str | Cell, ...], ...] = tuple(
        (
            name,
            *(spread_cell(it.get(key), score.digits) for key in shown.values()),
            *(_raw(it.get(term)) for term in terms),
            *([_links(it) or "-"] if links else []),
        )
        for name, it in rows.items()
    )
    data = tuple(
        {"row": name, "quantity": quantity, "mean": spread.mean, "sd": spread.sd, "n": spread.n}
        for name, it in rows.items()
        for quantity, spread in it.items()
    )
    note = (
        f"Mean ± standard deviation over a row's seeds. Terms are of the training {gathered.noun} and raw: not "
        "multiplied by their weights."
    )
    columns = ("row", *shown, *terms, *(["links"] if links else []))
    return ReportTable("one-epoch", "After one epoch", Table(columns, lines, note), data)


def _spreads(row: Row) -> dict[str, Spread]:
    """Scores and terms of the first epoch, by name; those of a link by its name without the weight."""
    found: dict[str, list[float]] = {}
    for run in curve_runs(row):
        for name, value in _named(run.metrics).items():
            found.setdefault(name, []).append(value)
    return {name: spread_of(values) for name, values in found.items()}


def _named(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    kept = {name: value for name, value in metrics[0].items() if name.startswith(("train_", "validation_"))}
    terms = [name for name in metrics[0] if is_term(name)][:MOST_TERMS]
    return kept | {raw_name(name): metrics[0][name] for name in terms}


def _links(spreads: Mapping[str, Spread]) -> str:
    """The terms that few rows have, in one cell."""
    found = {name: it for name, it in spreads.items() if is_term(name) and name not in (_HARD, _SOFT)}
    return ", ".join(f"{name}\N{NO-BREAK SPACE}{_raw(it).text}" for name, it in found.items())


def _raw(spread: Spread | None) -> Cell:
    if spread is None:
        return Cell("-")
    sd = "" if spread.sd is None else f" ± {spread.sd:.2g}"
    return Cell(f"{spread.mean:.4g}{sd}", spread.mean)
