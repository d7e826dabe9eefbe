"""What a row's runs did epoch by epoch, averaged over its seeds, as charts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from layerlink.errors import UsageError
from layerlink.lab.report.figures.bars import count_words, finished
from layerlink.lab.report.gather.records import Row, RunRecord
from layerlink.lab.report.page.charts import HEIGHT, legend_switch, run_looks
from layerlink.lab.report.page.curves import Curve, curve_chart, curve_panels
from layerlink.lab.report.page.page import Picture
from layerlink.lab.report.page.vega import alt
from layerlink.lab.run.folder import NOT_TERMS
from layerlink.transfer import Link

MOST_CURVES = 12  # rows in a chart; more cannot be told apart
Epochs = Mapping[str, Sequence[float]]  # by quantity, one value an epoch


def curve_pictures(rows: Sequence[Row]) -> list[Picture]:
    """Validation accuracy against training time and epochs; then, as panels of one figure, what was trained on."""
    averaged = {row.name: epochs for row in rows if (epochs := average_epochs(curve_runs(row)))}
    names = list(averaged)
    if not names:
        return []
    pictures = []
    seeds = count_words([len(curve_runs(row)) for row in rows if row.name in averaged])
    timed = {
        name: list(zip(itertools.accumulate(epochs["seconds"]), epochs["validation_accuracy"], strict=True))
        for name, epochs in averaged.items()
        if {"seconds", "validation_accuracy"} <= epochs.keys()
    }
    timed = {name: [point for point in line if all(map(math.isfinite, point))] for name, line in timed.items()}
    if any(timed.values()):
        pictures.append(
            Picture("Validation accuracy against training time", time_chart(timed, runs=names, seeds=seeds), wide=True)
        )
    validated = _curves(averaged, "validation_accuracy")
    if validated:
        chart = curve_chart(validated, title="Validation accuracy", y_title=f"accuracy in %, {seeds}", runs=names)
        pictures.append(Picture("Validation accuracy", chart, wide=True))
    quantities = {quantity: _curves(averaged, quantity) for quantity in ("train_accuracy", *_terms(averaged))}
    panels = [(_panel_title(quantity), curves) for quantity, curves in quantities.items() if curves]
    if panels:
        heading = "Training accuracy and raw terms"
        pictures.append(Picture(heading, curve_panels(panels, title=heading, runs=names), wide=True))
    return pictures


def _curves(averaged: Mapping[str, Epochs], quantity: str) -> list[Curve]:
    unit = "%" if quantity.endswith("_accuracy") else ""
    curves = [Curve(name, quantity, tuple(it[quantity]), unit) for name, it in averaged.items() if quantity in it]
    return curves if any(curve.values for curve in curves) else []


def _panel_title(quantity: str) -> str:
    return "training accuracy in %" if quantity == "train_accuracy" else quantity


def _terms(averaged: Mapping[str, Epochs]) -> list[str]:
    return list(dict.fromkeys(name for epochs in averaged.values() for name in epochs if name not in NOT_TERMS))


def curve_runs(row: Row) -> tuple[RunRecord, ...]:
    """The runs whose mean is drawn: the finished ones, or where there is none, whatever was begun."""
    return tuple(run for run in row.finished or row.runs if run.metrics)


def average_epochs(runs: Sequence[RunRecord]) -> dict[str, list[float]]:
    """Every quantity's mean over the runs, epoch by epoch, as far as all of them went.

    A term is called by its link without the weight: what is logged is raw, so rows of several weights compare.
    """
    if not runs:
        return {}
    epochs = min(len(run.metrics) for run in runs)
    names = {name: raw_name(name) for run in runs for name in run.metrics[0] if name != "epoch"}
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
    if term in NOT_TERMS or ":" not in term:
        return term
    try:
        link = Link.parse(term)
    except UsageError:
        return term
    return f"{link.taps_text} : {link.loss_text}"


def time_chart(
    lines: Mapping[str, Sequence[tuple[float, float]]], *, runs: Sequence[str], seeds: str
) -> alt.LayerChart:
    """Validation accuracy against the training time in seconds: one line a row, a point an epoch.

    Args:
        lines: by row's name, (seconds, value) of every epoch.
        runs: all rows of the page, as for ``curve_chart``.
        seeds: how many runs a line is the mean of, such as ``"n = 2"``.

    Raises:
        ValueError: where there is nothing to draw.
    """
    data = _timed(lines)
    if not data:
        raise ValueError("a time chart needs at least one line with at least one point")
    colour, dash = run_looks(list(lines), runs)
    shown = legend_switch(list(lines))
    x = alt.Axis(grid=False, tickCount=6, format=",~f", labelOverlap=True)
    y = alt.Y(
        "value:Q", title=f"validation accuracy in %, {seeds}", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)
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
    return finished([drawn, points], shown, "Validation accuracy against training time", HEIGHT)


def _timed(lines: Mapping[str, Sequence[tuple[float, float]]]) -> list[dict[str, Any]]:
    return [
        {
            "run": name,
            "epoch": epoch,
            "x": seconds,
            "value": value,
            "text": f"{value:.4g} %",
            "time": f"{seconds:,.1f} s",
        }
        for name, line in lines.items()
        for epoch, (seconds, value) in enumerate(line, start=1)
    ]
