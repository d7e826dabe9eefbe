"""Heat maps: confusion of classes, similarity of layers. Viridis in light and in dark: its steps look equally large
to every sight, and each cell says its number in whichever of black and white stands out from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerlink.lab.report.measured.similarity import Similarity
from layerlink.lab.report.page.charts import ROOM, in_lines, lines_of, room
from layerlink.lab.report.page.vega import alt

MOST_CLASSES = 40  # more make cells that nobody can read
_NUMBERED = 20  # classes up to which there is room for numbers
_CELL = 27  # pixels
_LETTERS = 28  # of a label in a line
# Share of the scale from which viridis is so light that black stands out more than white does.
_LIGHT_FROM = 0.46
_BLACK, _WHITE = "#000000", "#ffffff"


def confusion_chart(
    counts: Sequence[Sequence[int]],
    classes: Sequence[str],
    *,
    down: str,
    across: str,
    title: str,
    noun: str = "images",
) -> alt.LayerChart:
    """Which class is taken for which, as percent of a row; the colour goes by the root of it, to show the rare.

    Args:
        counts: examples, one row a class of ``down``.
        classes: names, in the order of ``counts``.
        down: what the rows are, such as ``"true class"``.
        across: what the columns are, such as ``"student's answer"``.
        title: of the static figure.
        noun: what is counted.

    Raises:
        ValueError: where there are more than 40 classes.
    """
    if len(classes) > MOST_CLASSES:
        raise ValueError(f"a confusion of at most {MOST_CLASSES} classes can be read; got {len(classes)}")
    labels = _labels(classes)
    data = []
    for name, row in zip(labels, counts, strict=True):
        total = sum(row)
        for other, count in zip(labels, row, strict=True):
            share = 100 * count / total if total else 0.0
            data.append(
                {"down": name, "across": other, "share": share, "images": f"{count:,} of {total:,}"}
                | {"text": f"{share:.0f}".removeprefix("0"), "told": f"{share:.1f} %"}
                | {"ink": _BLACK if (share / 100) ** 0.5 >= _LIGHT_FROM else _WHITE}
            )
    told = [
        alt.Tooltip("down:N", title=down),
        alt.Tooltip("across:N", title=across),
        alt.Tooltip("images:N", title=noun),
        alt.Tooltip("told:N", title="share"),
    ]
    numbered = len(classes) <= _NUMBERED
    scale = alt.Scale(scheme="viridis", domain=[0, 100], type="sqrt")
    legend = None if numbered else alt.Legend(title="% of the row")
    colour = alt.Color("share:Q", scale=scale, legend=legend)
    cell = _CELL if numbered else 12
    return _heat_map(data, labels, labels, (down, across), colour, told, cell, [{"numbered": numbered}], title)


def similarity_chart(cells: Sequence[Similarity], *, title: str) -> alt.LayerChart:
    """Linear CKA of layer pairs, a row each; a column is a student before or after its training. Linked pairs are bold.

    Raises:
        ValueError: where there is no cell.
    """
    if not cells:
        raise ValueError("a similarity chart needs at least one cell")
    data = [
        {"down": cell.pair, "across": cell.when, "share": cell.value, "text": f"{cell.value:.2f}"}
        | {"linked": "yes" if cell.linked else "no", "told": f"{cell.value:.4f}"}
        | {"ink": _BLACK if cell.value >= _LIGHT_FROM else _WHITE}
        for cell in cells
    ]
    told = [
        alt.Tooltip("down:N", title="pair"),
        alt.Tooltip("across:N", title="student"),
        alt.Tooltip("told:N", title="CKA"),
        alt.Tooltip("linked:N", title="linked"),
    ]
    colour = alt.Color("share:Q", scale=alt.Scale(scheme="viridis", domain=[0, 1]), legend=None)
    pairs = list(dict.fromkeys(cell.pair for cell in cells))
    students = list(dict.fromkeys(cell.when for cell in cells))
    weights: list[dict[str, Any]] = [
        {"filter": "datum.linked === 'yes'", "bold": True},
        {"filter": "datum.linked !== 'yes'"},
    ]
    return _heat_map(data, pairs, students, ("layers", "student"), colour, told, 34, weights, title)


def _labels(classes: Sequence[str]) -> list[str]:
    """The classes' names, made to differ where two are the same."""
    return [name if list(classes).count(name) == 1 else f"{name} ({place})" for place, name in enumerate(classes)]


def _heat_map(
    data: list[dict[str, Any]],
    down: Sequence[str],
    across: Sequence[str],
    titles: tuple[str, str],
    colour: alt.Color,
    told: list[alt.Tooltip],
    cell: int,
    numbers: Sequence[dict[str, Any]],
    title: str,
) -> alt.LayerChart:
    down_letters, across_letters = f"min({_LETTERS}, floor({ROOM} * 0.3 / 6))", str(_LETTERS)
    most = max(len(lines_of(name, _LETTERS)) for name in down)
    x = alt.X(
        "across:N",
        title=titles[1],
        sort=list(across),
        scale=alt.Scale(paddingInner=0.03),
        axis=alt.Axis(grid=False, labelExpr=in_lines(across_letters), labelLimit=0, **_slant(across)),
    )
    y = alt.Y(
        "down:N",
        title=titles[0],
        sort=list(down),
        scale=alt.Scale(paddingInner=0.03),
        axis=alt.Axis(grid=False, labelExpr=in_lines(down_letters), labelLimit=0),
    )
    base = alt.Chart(alt.InlineData(values=data)).encode(x, y)
    layers = [base.mark_rect().encode(colour, tooltip=told).add_params(room())]
    for number in numbers:
        if not number.get("numbered", True):
            continue
        text = base.mark_text(fontSize=11, fontWeight=700 if number.get("bold") else 400).encode(
            text="text:N", color=alt.Color("ink:N", scale=None, legend=None), tooltip=told
        )
        layers.append(text.transform_filter(number["filter"]) if "filter" in number else text)
    chart: alt.LayerChart = alt.LayerChart(layer=layers).resolve_scale(color="independent")
    finished: alt.LayerChart = chart.properties(
        title=title,
        description=title,
        width="container",
        height=len(down) * max(cell, 13 * most + 6 if most > 1 else 0),
    )
    return finished


def _slant(names: Sequence[str]) -> dict[str, Any]:
    """Labels that do not fit beside each other are slanted; letters are about 6 pixels wide."""
    longest = min(_LETTERS, max(map(len, names)))
    fits = f"{ROOM} - 90 > {len(names) * (6 * longest + 16)}"
    return {
        "labelAngle": {"expr": f"{fits} ? 0 : -45"},
        "labelAlign": {"expr": f"{fits} ? 'center' : 'right'"},
        "labelBaseline": "top",
    }
