"""Curves over epochs: one quantity a chart, or several as panels. No file is read or written."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layerlink.lab.report.page.charts import (
    HEIGHT,
    MOST_RUNS,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    PLAIN_NUMBER,
    legend_switch,
    lines_of,
    room,
    run_looks,
)
from layerlink.lab.report.page.vega import alt

# What hovering tells. An expression, because Vega-Lite 6.4 reads named fields of the nearest point from the wrong
# object, one level up. Fixed names only: vega-tooltip would fetch the value of a name "image".
_POINT = "(datum.datum || datum)"

_TOLD = f"{{'run': {_POINT}.run, 'epoch': {_POINT}.epoch, 'value': {_POINT}.text}}"

_MANY_EPOCHS = 12  # above this, points hide the line and not every epoch has a tick

_PANEL_LETTERS = 38  # of a panel's title in a line
_PANEL_TICKS = 6  # epochs that have a label in a panel, at most


@dataclass(frozen=True)
class Curve:
    """One quantity of one run over its epochs.

    Args:
        run: shown name of the run, such as ``"labels only"``.
        quantity: what was measured, such as ``"validation accuracy"`` or ``"group3 : mse * 40"``.
        values: one an epoch, the first is epoch 1. Values that are not finite leave a gap in the line.
        unit: ``"%"``, or empty for a loss term. Decides the scale, see ``curve_chart``.
    """

    run: str
    quantity: str
    values: tuple[float, ...]
    unit: str = ""


def curve_chart(
    curves: Sequence[Curve], *, title: str, y_title: str, runs: Sequence[str] | None = None
) -> alt.LayerChart:
    """One line a run. Hovering tells run, epoch and value; a click on a name in the legend hides or shows it.

    The y-axis is logarithmic, and its title says so, where no curve has a unit and every finite value is above 0.

    Args:
        curves: of one quantity, each of another run.
        title: of the static figure; ``write_sections`` puts a heading in its place.
        y_title: of the y-axis, with the unit where there is one.
        runs: all runs of the page, 42 at most; colour and dash go by their order, so that a run that is missing
            from one chart does not change the others' looks. None: the runs of ``curves``.

    Raises:
        ValueError: where there is no curve, two of one run, two quantities, a run missing from ``runs``, or there
            are too many.
    """
    present = [curve.run for curve in curves]
    everyone = list(dict.fromkeys(present if runs is None else runs))
    _check(curves, everyone)
    longest = max(len(curve.values) for curve in curves)
    base = alt.Chart(alt.InlineData(values=_rows(curves))).encode(
        x=_x_axis(longest), y=_y_axis(y_title, _log_ticks(curves))
    )
    colour, dash = run_looks(present, everyone)
    shown = legend_switch(present)
    lines = base.mark_line(strokeWidth=2).encode(colour, dash).transform_filter(shown)
    points = _points(base.encode(colour).transform_filter(shown), 16 if longest <= _MANY_EPOCHS else 0)
    chart: alt.LayerChart = alt.LayerChart(layer=[lines.add_params(shown, room()), points]).properties(
        title=title, description=title, width="container", height=HEIGHT
    )
    return chart


def curve_panels(panels: Sequence[tuple[str, Sequence[Curve]]], *, title: str, runs: Sequence[str]) -> alt.ConcatChart:
    """Small charts of several quantities beside each other, with one legend; two in a row.

    Each has its own y-axis, logarithmic by the rule of ``curve_chart``, which then stands in its title.

    Args:
        panels: title of each, and its curves as for ``curve_chart``.
        title: of the static figure.
        runs: all runs of the page, as for ``curve_chart``.

    Raises:
        ValueError: as ``curve_chart``, or where there is no panel.
    """
    if not panels:
        raise ValueError("a figure of panels needs at least one")
    present = list(dict.fromkeys(curve.run for _, curves in panels for curve in curves))
    colour, dash = run_looks(present, runs)
    shown = legend_switch(present)
    charts: list[alt.LayerChart] = []
    for heading, curves in panels:
        _check(curves, list(runs))
        longest = max(len(curve.values) for curve in curves)
        ticks = _log_ticks(curves)
        base = alt.Chart(alt.InlineData(values=_rows(curves))).encode(
            x=_x_axis(longest, _PANEL_TICKS),
            y=_y_axis(None, ticks),
            tooltip=[alt.Tooltip("run:N"), alt.Tooltip("epoch:Q"), alt.Tooltip("text:N", title="value")],
        )
        # One term of a recipe is as long as its link, and longer than a panel is wide.
        named = heading if ticks is None else f"{heading} (log scale)"
        words = alt.TitleParams(
            lines_of(named, _PANEL_LETTERS), fontSize=12, fontWeight=500, limit=PANEL_WIDTH + 30, offset=8
        )
        lines = base.mark_line(strokeWidth=2).encode(colour, dash).transform_filter(shown)
        points = base.mark_circle(opacity=1, size=16 if longest <= _MANY_EPOCHS else 0).encode(colour)
        layers = [lines if charts else lines.add_params(shown), points.transform_filter(shown)]
        charts.append(alt.LayerChart(layer=layers).properties(title=words, width=PANEL_WIDTH, height=PANEL_HEIGHT))
    together: alt.ConcatChart = alt.ConcatChart(concat=charts, columns=2, spacing={"row": 26, "column": 34})
    shared: alt.ConcatChart = together.resolve_scale(color="shared", strokeDash="shared")
    finished: alt.ConcatChart = shared.properties(title=title, description=title).add_params(room())
    return finished


def _points(base: alt.Chart, size: int) -> alt.Chart:
    """The point of every epoch, ``size`` square pixels large; the one nearest to the pointer grows and speaks."""
    hover = alt.selection_point(
        name="hover", fields=["run", "epoch"], on="pointerover", clear="pointerout", nearest=True, empty=False
    )
    told: Any = alt.value({"expr": _TOLD})
    points: alt.Chart = base.mark_circle(opacity=1).encode(
        size=alt.when(hover).then(alt.value(90)).otherwise(alt.value(size)), tooltip=told
    )
    listening: alt.Chart = points.add_params(hover)
    return listening


def _check(curves: Sequence[Curve], everyone: Sequence[str]) -> None:
    quantities = list(dict.fromkeys(curve.quantity for curve in curves))
    twice = [run for run, count in Counter(curve.run for curve in curves).items() if count > 1]
    strangers = [curve.run for curve in curves if curve.run not in everyone]
    if not any(curve.values for curve in curves):
        raise ValueError("a chart needs at least one curve with at least one value")
    if len(quantities) > 1:
        raise ValueError(f"a chart shows one quantity; got {', '.join(map(repr, quantities))}. Make one chart of each")
    if twice:
        raise ValueError(f"a chart shows one curve a run; got more of {', '.join(map(repr, twice))}")
    if strangers:
        raise ValueError(f"runs must name every run of the chart; it lacks {', '.join(map(repr, strangers))}")
    if len(everyone) > MOST_RUNS:
        raise ValueError(f"colour and dash tell {MOST_RUNS} runs apart; got {len(everyone)}. Make several charts")


def _log_ticks(curves: Sequence[Curve]) -> list[float] | None:
    """Round values for a logarithmic axis, maybe none in a narrow range; None where the axis is to be linear."""
    finite = [value for curve in curves for value in curve.values if math.isfinite(value)]
    if not finite or min(finite) <= 0 or any(curve.unit for curve in curves):
        return None
    low, high = min(finite), max(finite)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1,) if len(decades) > 5 else (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        # From text, because 10.0**-5 is not the float that 1e-5 is.
        every = [float(f"{step}e{decade}") for decade in decades for step in steps]
        ticks = [tick for tick in every if low <= tick <= high]
        if len(ticks) >= 3:
            break
    return ticks


def _rows(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    return [
        {
            "run": curve.run,
            "epoch": epoch,
            # JSON knows no nan; null breaks the line, which is what a diverged run should look like.
            "value": value if math.isfinite(value) else None,
            "text": f"{value:.4g} {curve.unit}".rstrip(),
        }
        for curve in curves
        for epoch, value in enumerate(curve.values, start=1)
    ]


def _x_axis(epochs: int, most: int = _MANY_EPOCHS) -> alt.X:
    # A single epoch would make a domain without extent.
    scale = alt.Scale(domain=[1, max(2, epochs)], nice=False, padding=8)
    axis = alt.Axis(format="d", grid=False, tickCount=most, tickMinStep=1, labelOverlap=True)
    if epochs <= most:
        axis.values = list(range(1, epochs + 1))  # else Vega puts ticks on half epochs
    return alt.X("epoch:Q", title="epoch", scale=scale, axis=axis)


def _y_axis(title: str | None, log_ticks: list[float] | None) -> alt.Y:
    if log_ticks is None:
        axis = alt.Axis(tickCount=5, titleLimit=HEIGHT)
        return alt.Y("value:Q", title=title, scale=alt.Scale(zero=False), axis=axis)
    # Vega draws a grid line at each of 1 to 9 in a decade but leaves labels out; an expression labels what is drawn.
    axis = alt.Axis(labelExpr=PLAIN_NUMBER, titleLimit=HEIGHT, tickCount=5)
    if len(log_ticks) >= 3:
        axis.values = log_ticks
    words = None if title is None else f"{title} (log scale)"
    return alt.Y("value:Q", title=words, scale=alt.Scale(type="log", nice=False), axis=axis)
