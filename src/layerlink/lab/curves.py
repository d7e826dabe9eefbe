"""What a row's runs did epoch by epoch, averaged over its seeds, as charts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from layerlink.errors import UsageError
from layerlink.lab.charts import MOST_RUNS, Curve, curve_chart
from layerlink.lab.figures import time_chart
from layerlink.lab.page import Picture
from layerlink.lab.records import Row, RunRecord
from layerlink.lab.run_folder import NOT_TERMS
from layerlink.transfer import Link

Epochs = Mapping[str, Sequence[float]]  # by quantity, one value an epoch


def curve_pictures(rows: Sequence[Row]) -> list[Picture]:
    """Validation accuracy against training time and against epochs, then every raw term; of 42 rows at the most."""
    averaged = {row.name: epochs for row in rows if (epochs := average_epochs(curve_runs(row)))}
    averaged = dict(itertools.islice(averaged.items(), MOST_RUNS))
    names = list(averaged)
    if not names:
        return []
    pictures = []
    timed = {
        name: list(zip(itertools.accumulate(epochs["seconds"]), epochs["validation_accuracy"], strict=True))
        for name, epochs in averaged.items()
        if {"seconds", "validation_accuracy"} <= epochs.keys()
    }
    timed = {name: [point for point in line if all(map(math.isfinite, point))] for name, line in timed.items()}
    if any(timed.values()):
        pictures.append(Picture("Validation accuracy against training time", time_chart(timed, runs=names), wide=True))
    quantities = ["validation_accuracy", "train_accuracy", *_terms(averaged)]
    for quantity in quantities:
        unit = "%" if quantity.endswith("_accuracy") else ""
        curves = [Curve(name, quantity, tuple(it[quantity]), unit) for name, it in averaged.items() if quantity in it]
        if any(curve.values for curve in curves):
            title = quantity.replace("_", " ").capitalize() if unit else f"Term: {quantity}"
            y_title = "accuracy in %" if unit else "raw loss, training images"
            pictures.append(Picture(title, curve_chart(curves, title=title, y_title=y_title, runs=names)))
    return pictures


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
    return str(Link(link.teacher, link.student, link.loss))
