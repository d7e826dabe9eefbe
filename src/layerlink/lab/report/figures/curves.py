"""What a row's runs did epoch by epoch, averaged over its seeds, as charts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from layerlink.errors import UsageError
from layerlink.lab.report.figures.bars import count_words, finished, what
from layerlink.lab.report.gather.records import Row, RunRecord
from layerlink.lab.report.page.charts import HEIGHT, legend_switch, run_looks
from layerlink.lab.report.page.curves import Curve, curve_panels
from layerlink.lab.report.page.page import Picture
from layerlink.lab.report.page.vega import alt
from layerlink.lab.run.folder import is_term
from layerlink.tasks import ACCURACY, Score
from layerlink.transfer import Link

MOST_CURVES = 12  # rows in a chart; more cannot be told apart
MOST_TERMS = 40  # panels of a figure
Epochs = Mapping[str, Sequence[float]]  # by quantity, one value an epoch


def curve_pictures(rows: Sequence[Row], score: Score = ACCURACY) -> list[Picture]:
    """The validation score against training time; then, as panels of one figure, what changed from epoch to epoch.

    A row of a single epoch is left out: a curve of it would be a point.
    """
    averaged = {row.name: average_epochs(curve_runs(row)) for row in rows if epochs_of(row) > 1}
    names = list(averaged)
    if not names:
        return []
    pictures = []
    validation = f"validation_{score.name}"
    seeds = count_words([len(curve_runs(row)) for row in rows if row.name in averaged])
    timed = {
        name: list(zip(itertools.accumulate(epochs["seconds"]), epochs[validation], strict=True))
        for name, epochs in averaged.items()
        if {"seconds", validation} <= epochs.keys()
    }
    timed = {name: [point for point in line if all(map(math.isfinite, point))] for name, line in timed.items()}
    if any(timed.values()):
        pictures.append(
            Picture(
                f"Validation {score.words} against training time",
                time_chart(timed, runs=names, seeds=seeds, score=score),
                wide=True,
            )
        )
    panels = [
        (what(score, "validation"), _curves(averaged, validation, score.unit)),
        (what(score, "training"), _curves(averaged, f"train_{score.name}", score.unit)),
        *((term, _curves(averaged, term)) for term in _terms(averaged)),
    ]
    panels = [(heading, curves) for heading, curves in panels if curves]
    if panels:
        heading = f"{score.words[0].upper()}{score.words[1:]} and raw terms, epoch by epoch"
        pictures.append(Picture(heading, curve_panels(panels, title=heading, runs=names), wide=True))
    return pictures


def _curves(averaged: Mapping[str, Epochs], quantity: str, unit: str = "") -> list[Curve]:
    curves = [Curve(name, quantity, tuple(it[quantity]), unit) for name, it in averaged.items() if quantity in it]
    # Two values make a line.
    return curves if any(sum(map(math.isfinite, curve.values)) > 1 for curve in curves) else []


def _terms(averaged: Mapping[str, Epochs]) -> list[str]:
    every = list(dict.fromkeys(name for epochs in averaged.values() for name in epochs if is_term(name)))
    return every[:MOST_TERMS]


def curve_runs(row: Row) -> tuple[RunRecord, ...]:
    """The runs whose mean is drawn: the finished ones, or where there is none, whatever was begun."""
    return tuple(run for run in row.finished or row.runs if run.metrics)


def epochs_of(row: Row) -> int:
    """How many epochs there are to draw: as far as all of its runs went."""
    return min((len(run.metrics) for run in curve_runs(row)), default=0)


def average_epochs(runs: Sequence[RunRecord]) -> dict[str, list[float]]:
    """Every quantity's mean over the runs, epoch by epoch, as far as all of them went.

    A term is called by its link without the weight: what is logged is raw, so rows of several weights compare.
    """
    if not runs:
        return {}
    epochs = min(len(run.metrics) for run in runs)
    known = dict.fromkeys(name for run in runs for name in run.metrics[0] if name != "epoch")
    terms = [name for name in known if is_term(name)][:MOST_TERMS]
    names = {name: raw_name(name) for name in known if not is_term(name) or name in terms}
    return {
        shown: [
            math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
            for epoch in range(epochs)
            if (values := [run.metrics[epoch].get(name, math.nan) for run in runs])
        ]
        for name, shown in names.items()
    }


def raw_name(term: str) -> str:
    """A term's name without the weight.

    >>> raw_name("group3.1 -> group3 : mse * 40")
    'group3.1 -> group3 : mse'
    """
    if ":" not in term:
        return term
    try:
        link = Link.parse(term)
    except UsageError:
        return term
    return f"{link.taps_text} : {link.loss_text}"


def time_chart(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    runs: Sequence[str],
    seeds: str,
    score: Score = ACCURACY,
) -> alt.LayerChart:
    """The validation score against the training time in seconds: one line a row, a point an epoch.

    Args:
        lines: by row's name, (seconds, value) of every epoch.
        runs: all rows of the page, as for ``curve_chart``.
        seeds: how many runs a line is the mean of, such as ``"n = 2"``.
        score: of the values.

    Raises:
        ValueError: where there is nothing to draw.
    """
    data = _timed(lines, score.unit)
    if not data:
        raise ValueError("a time chart needs at least one line with at least one point")
    colour, dash = run_looks(list(lines), runs)
    shown = legend_switch(list(lines))
    x = alt.Axis(grid=False, tickCount=6, format=",~f", labelOverlap=True)
    y = alt.Y(
        "value:Q",
        title=f"{what(score, 'validation')}, {seeds}",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(tickCount=5),
    )
    base = alt.Chart(alt.InlineData(values=data)).encode(alt.X("x:Q", title="training time in seconds", axis=x), y)
    told = [
        alt.Tooltip("run:N", title="run"),
        alt.Tooltip("epoch:Q", title="epoch"),
        alt.Tooltip("time:N", title="time"),
        alt.Tooltip("text:N", title="value"),
    ]
    drawn = base.mark_line(strokeWidth=2).encode(colour, dash, order="epoch:Q").transform_filter(shown)
    points = base.mark_circle(opacity=1, size=26).encode(colour, tooltip=told).transform_filter(shown)
    return finished([drawn, points], shown, f"Validation {score.words} against training time", HEIGHT)


def _timed(lines: Mapping[str, Sequence[tuple[float, float]]], unit: str) -> list[dict[str, Any]]:
    return [
        {
            "run": name,
            "epoch": epoch,
            "x": seconds,
            "value": value,
            "text": f"{value:.4g} {unit}".strip(),
            "time": f"{seconds:,.1f} s",
        }
        for name, line in lines.items()
        for epoch, (seconds, value) in enumerate(line, start=1)
    ]
