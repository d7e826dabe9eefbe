"""Accuracy of rows as Altair charts: along a numeric axis, row by row.

Every seed is a small ring, the mean a dot, the bar one standard deviation each way. What is compared with,
such as the teacher, is a line that the legend names. Colours and dashes go by the rules of ``charts``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from layerlink.lab.report.chance.spread import spread_of
from layerlink.lab.report.page import charts
from layerlink.lab.report.page.charts import HEIGHT, PLAIN_NUMBER, ROOM, legend_switch, room
from layerlink.lab.report.page.vega import alt
from layerlink.tasks import ACCURACY, Score

OURS, PUBLISHED = "ours", "published"
_WIDE = 10  # a positive axis whose ends are this far apart, as a ratio, is logarithmic
_MOST_TICKS = 12
_STEP = 30  # pixels a row
_NAME_LETTERS = 40  # of a row's name in a line


@dataclass(frozen=True)
class Point:
    """A row in a chart.

    Args:
        row: its name.
        seeds: the score of the test images by seed, at least one.
        published: the same from the source; None where it gives none.
        x: the row's place on a numeric axis; None where the chart has none.
        series: rows of one series are joined by a line.
    """

    row: str
    seeds: Mapping[int, float]
    published: float | None = None
    x: float | None = None
    series: str = OURS


@dataclass(frozen=True)
class Reference:
    """What rows are compared with.

    Args:
        name: such as ``"teacher"``.
        value: its score of the test images.
    """

    name: str
    value: float


def axis_chart(
    points: Sequence[Point], *, axis: str, references: Sequence[Reference] = (), score: Score = ACCURACY
) -> alt.LayerChart:
    """The score of the test images against a number that the rows differ in, such as the temperature.

    Args:
        points: with ``x``.
        axis: title of the x-axis.
        references: horizontal lines; the legend names them.
        score: of the points.

    Raises:
        ValueError: where a point has no ``x``, or there is none.
    """
    if not points or any(point.x is None for point in points):
        raise ValueError("an axis chart needs at least one point, each with a place on the axis")
    places = sorted({point.x for point in points if point.x is not None})
    wide = places[0] > 0 and places[-1] / places[0] >= _WIDE
    ticks: dict[str, Any] = {"values": places} if len(places) <= _MOST_TICKS else {}
    x = alt.X(
        "x:Q",
        title=f"{axis} (log scale)" if wide else axis,
        scale=alt.Scale(type="log", nice=False, padding=14) if wide else alt.Scale(nice=False, zero=False, padding=14),
        axis=alt.Axis(labelExpr=PLAIN_NUMBER, grid=False, labelOverlap=True, **ticks),
    )
    y = alt.Y(
        "value:Q", title=_title(points, score), scale=alt.Scale(zero=False, padding=10), axis=alt.Axis(tickCount=6)
    )
    names = list(dict.fromkeys(point.series for point in points))
    references = _with_values(references, score)
    colour, shown = _series(names, points, references)
    layers = _reference_lines(references, colour, shown, score, "y")
    published = _published(points, colour, shown, score)
    if published is not None:
        layers += [
            published.mark_line(strokeDash=[5, 4], strokeWidth=1.5).encode(x, y),
            published.mark_point(shape="diamond", size=70, filled=True).encode(
                x, y, tooltip=_told(score, "row", "value")
            ),
        ]
    means = _means(points, colour, shown, score)
    layers += [
        means.mark_line(strokeWidth=2).encode(x, y),
        *_spread_layers(points, means, colour, shown, {"x": x, "y": y, "y2": alt.Y2("high:Q")}, "y", score),
    ]
    return finished(layers, shown, f"{what(score)} against {axis}", HEIGHT + 40)


def row_chart(
    points: Sequence[Point], *, references: Sequence[Reference] = (), score: Score = ACCURACY
) -> alt.LayerChart:
    """The score of the test images of every row, one below the other.

    Args:
        points: in the order to be shown.
        references: vertical lines; the legend names them.
        score: of the points.

    Raises:
        ValueError: where there is no point.
    """
    if not points:
        raise ValueError("a row chart needs at least one point")
    names = list(dict.fromkeys(point.row for point in points))
    # A line is about 15 pixels high; on a narrow page a name may take more lines than here.
    most = max(len(charts.lines_of(name, _NAME_LETTERS)) for name in names)
    y = alt.Y(
        "row:N",
        title=None,
        sort=names,
        axis=alt.Axis(
            labelExpr=charts.in_lines(f"min({_NAME_LETTERS}, floor({ROOM} * 0.4 / 7))"),
            labelLimit=0,
            grid=True,
            labelFontSize=12,
        ),
    )
    few: Any = {"expr": f"max(2, floor({ROOM} / 110))"}
    axis = alt.Axis(tickCount=few, labelOverlap=True)
    x = alt.X("value:Q", title=_title(points, score), scale=alt.Scale(zero=False, padding=14), axis=axis)
    references = _with_values(references, score)
    colour, shown = _series([OURS], points, references)
    layers: list[alt.Chart] = _reference_lines(references, colour, shown, score, "x")
    published = _published(points, colour, shown, score)
    if published is not None:
        layers.append(
            published.mark_point(shape="diamond", size=70, filled=True).encode(
                x, y, tooltip=_told(score, "row", "value")
            )
        )
    means = _means(points, colour, shown, score)
    layers += _spread_layers(points, means, colour, shown, {"x": x, "y": y, "x2": alt.X2("high:Q")}, "x", score)
    return finished(layers, shown, f"{what(score)}, row by row", max(_STEP, 15 * most + 8) * len(names))


def _series(
    names: Sequence[str], points: Sequence[Point], references: Sequence[Reference]
) -> tuple[alt.Color, alt.Parameter]:
    """Colour and legend switch. Neutral first: the first reference, then ours."""
    lines = [reference.name for reference in references]
    published = [PUBLISHED] if any(point.published is not None for point in points) else []
    domain = [*(lines[:1] or [""]), names[0], PUBLISHED, *(lines[1:2] or [" "]), *names[1:], *lines[2:]]
    present = [*names, *published, *lines]
    legend = charts.legend(present, symbol="circle", strokes=lines)
    colour = alt.Color("series:N", title=None, scale=alt.Scale(domain=domain), legend=legend)
    return colour, legend_switch(present, "series")


def what(score: Score, part: str = "test") -> str:
    """What an axis shows.

    >>> what(ACCURACY)
    'test accuracy in %'
    """
    return f"{part} {score.words}{f' in {score.unit}' if score.unit else ''}"


def count_words(counts: Collection[int]) -> str:
    """How many seeds, in words: ``n = 3``, or ``n = 1 to 3``."""
    low, high = min(counts), max(counts)
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def _title(points: Sequence[Point], score: Score) -> str:
    counts = [len(point.seeds) for point in points]
    shown = "one seed each" if max(counts) == 1 else f"mean and sd, {count_words(counts)}"
    return f"{what(score)}, {shown}"


def _means(points: Sequence[Point], colour: alt.Color, shown: alt.Parameter, score: Score) -> alt.Chart:
    data = []
    for point in points:
        spread = spread_of(point.seeds.values())
        sd = spread.sd or 0.0
        words = score.show(spread.mean) + (
            f", sd {spread.sd:.{score.digits}f}" if spread.sd is not None else ", one seed"
        )
        place = {} if point.x is None else {"x": point.x}
        data.append(
            {"series": point.series, "row": point.row, "value": spread.mean, "low": spread.mean - sd}
            | {"high": spread.mean + sd, "n": spread.n, "text": words, **place}
        )
    return _chart(data, colour, shown)


def _published(points: Sequence[Point], colour: alt.Color, shown: alt.Parameter, score: Score) -> alt.Chart | None:
    data = [
        {
            "series": PUBLISHED,
            "row": point.row,
            "value": point.published,
            "text": f"{score.show(point.published)} published",
        }
        | ({} if point.x is None else {"x": point.x})
        for point in points
        if point.published is not None
    ]
    return _chart(data, colour, shown) if data else None


def _spread_layers(
    points: Sequence[Point],
    means: alt.Chart,
    colour: alt.Color,
    shown: alt.Parameter,
    places: Mapping[str, Any],
    side: str,
    score: Score,
) -> list[alt.Chart]:
    """The bar, every seed and the mean; ``side`` is the channel along which the score runs."""
    bar = dict(places)
    low = bar[side].copy()
    low.shorthand = "low:Q"
    bar[side] = low
    data = [
        {"series": point.series, "row": point.row, "value": value, "text": score.show(value), "seed": str(seed)}
        | ({} if point.x is None else {"x": point.x})
        for point in points
        for seed, value in point.seeds.items()
    ]
    at = {channel: place for channel, place in places.items() if not channel.endswith("2")}
    return [
        means.mark_rule(strokeWidth=2, opacity=0.6).encode(**bar),
        _chart(data, colour, shown)
        .mark_point(size=45, strokeWidth=1.5)
        .encode(**at, tooltip=_told(score, "row", "seed")),
        means.mark_circle(size=95, opacity=1).encode(**at, tooltip=_told(score, "row", "n")),
    ]


def _reference_lines(
    references: Sequence[Reference], colour: alt.Color, shown: alt.Parameter, score: Score, side: str
) -> list[alt.Chart]:
    """A dotted line each."""
    lines = []
    for reference in references:
        data = [{"series": reference.name, "row": reference.name, "value": reference.value}]
        data[0]["text"] = score.show(reference.value)
        at = {side: alt.Y("value:Q") if side == "y" else alt.X("value:Q")}
        base = _chart(data, colour, shown)
        lines.append(base.mark_rule(strokeDash=[2, 3], strokeWidth=1.5).encode(**at, tooltip=_told(score)))
    return lines


def _with_values(references: Sequence[Reference], score: Score) -> list[Reference]:
    """Beside its line a name would meet others, lie over seeds, or leave a narrow page: the legend tells it and its
    value."""
    digits = 1 if score.unit == "%" else None
    return [replace(it, name=f"{it.name} {score.show(it.value, digits)}") for it in references]


def _chart(data: list[dict[str, Any]], colour: alt.Color, shown: alt.Parameter) -> alt.Chart:
    chart: alt.Chart = alt.Chart(alt.InlineData(values=data)).encode(colour).transform_filter(shown)
    return chart


def _told(score: Score, *fields: str) -> list[alt.Tooltip]:
    """Name and value, and what else a point knows."""
    extra = [alt.Tooltip(f"{name}:N", title=name) for name in fields if name not in ("row", "value")]
    return [alt.Tooltip("row:N", title="row"), alt.Tooltip("text:N", title=score.words), *extra]


def finished(layers: list[alt.Chart], shown: alt.Parameter, description: str, height: int) -> alt.LayerChart:
    """The layers as a chart as wide as its place, with its switch."""
    # Vega-Lite makes a legend clickable only where the first layer has the selection.
    layers[0] = layers[0].add_params(shown, room())
    chart: alt.LayerChart = alt.LayerChart(layer=layers).properties(
        title=description, description=description, width="container", height=height
    )
    return chart
