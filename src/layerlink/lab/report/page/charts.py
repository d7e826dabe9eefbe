"""What all charts share: colours, dashes, legends, numbers, and how a chart becomes a figure. No file is touched.

A chart names no colour of its own: the page and the static figure each bring theirs (``page_config`` and
``FIGURE_CONFIG``), so one chart reads well in light, in dark and on paper.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from layerlink.lab.report.page.text_width import with_fixed_widths
from layerlink.lab.report.page.vega import alt, vl_convert
from layerlink.printable import all_printable

# Six colours that stay apart under simulated protanopia, deuteranopia and tritanopia and have a contrast
# of at least 3 to their background (tests/lab/report/page/test_charts.py measures both). Neutral first: it is the
# reference.
LIGHT = ("#303030", "#0056ae", "#be8a19", "#b53d7e", "#19a862", "#6c4500")
DARK = ("#e9e9e9", "#4f7cff", "#da5921", "#e570c6", "#16dd80", "#f3c819")
LIGHT_BACKGROUND, DARK_BACKGROUND = "#ffffff", "#16181c"

# Lengths of stroke and gap in pixels. Seven against six colours: the pairs repeat after 42 runs, not after 6.
DASHES = ((1, 0), (7, 3), (2, 2), (10, 3, 2, 3), (14, 4), (5, 2, 1, 2, 1, 2), (4, 5))
MOST_RUNS = len(LIGHT) * len(DASHES)

# A chart's parameter: the pixels its legend may take. Vega's own "width" would do in a figure, but in a page it
# changes during layout, and rows of the legend that appear then are cut off. The page sets this one beforehand.
ROOM = "room"


# Numbers as people write them, from 0.0001 to 999,999; d3's own "~g" writes 1e+1 where digits are few.
PLAIN_NUMBER = (
    "datum.value == 0 || (abs(datum.value) >= 1e-4 && abs(datum.value) < 1e6) "
    "? format(datum.value, ',.6~r') : format(datum.value, '.3~e')"
)

_BREAKS = "[./_=,:-]"  # a word that is longer than a line ends it with one of these
_LEGEND_LETTERS = 37  # of a line
FIGURE_WIDTH, HEIGHT = 640, 250  # pixels
PANEL_WIDTH, PANEL_HEIGHT = 270, 130
_PLAIN: dict[str, Any] = {
    "view": {"stroke": None},
    "axis": {"domain": False, "ticks": False, "labelPadding": 6, "titlePadding": 10, "titleFontWeight": 500},
    "legend": {"symbolStrokeWidth": 2.5, "symbolSize": 700, "columnPadding": 18, "rowPadding": 4},
}


def run_looks(present: Sequence[str], everyone: Sequence[str]) -> tuple[alt.Color, alt.StrokeDash]:
    """Colour and dash of the runs that a chart shows, by their place among all runs of the page."""
    names: Any = {"title": None, "legend": legend(present)}
    dashes = [list(DASHES[place % len(DASHES)]) for place in range(len(everyone))]
    colour = alt.Color("run:N", scale=alt.Scale(domain=list(everyone)), **names)
    return colour, alt.StrokeDash("run:N", scale=alt.Scale(domain=list(everyone), range=dashes), **names)


def room() -> alt.Parameter:
    """The parameter ``ROOM``; a chart with a legend needs it."""
    return alt.param(name=ROOM, value=FIGURE_WIDTH)


def legend_switch(names: Sequence[str], field: str = "run") -> alt.Parameter:
    """A selection that holds the names that are shown; each click on one takes it out or puts it back."""
    # The null entry is no name. It keeps the selection from ever being empty, when every name would look switched on.
    entries: Any = [{field: name} for name in [*names, None]]
    return alt.selection_point(
        name="shown", fields=[field], bind="legend", toggle="true", clear=False, value=entries, empty=False
    )


def legend(names: Sequence[str], symbol: str = "stroke", strokes: Sequence[str] = ()) -> alt.Legend:
    """The legend of these names above a chart: as many beside each other as the room allows.

    Args:
        names: in order.
        symbol: beside a name, as its mark looks: "stroke", or a shape such as "circle".
        strokes: names that have a stroke all the same: their marks are lines.
    """
    # About 7 pixels a letter, 55 for the stroke and the gap; it begins where the y-axis stands.
    column = 7 * min(_LEGEND_LETTERS, max(map(len, names))) + 55
    columns: Any = {"expr": f"max(1, floor(({ROOM} - 45) / {column}))"}
    drawn: dict[str, Any] = {"symbolType": "stroke"}
    if symbol != "stroke":
        is_line = f"indexof({json.dumps(list(strokes))}, datum.value) >= 0"
        drawn = {"symbolType": {"expr": f"{is_line} ? 'stroke' : '{symbol}'"}, "symbolSize": 110}
    words = in_lines(f"min({_LEGEND_LETTERS}, floor(({ROOM} - 120) / 7))")
    return alt.Legend(
        values=list(names),
        orient="top",
        columns=columns,
        labelExpr=words,
        labelLimit=0,
        offset=12,
        **drawn,
    )


def in_lines(letters: str) -> str:
    """Vega's expression for a label in lines of so many letters, so that nothing of it is cut off.

    Args:
        letters: an expression, too; it may name ``ROOM``.
    """
    long = f"max(8, {letters})"
    parts = f"'(.{{1,' + {long} + '}})(?:[ ]+|$)|(.{{1,' + ({long} - 1) + '}}{_BREAKS}|.{{' + {long} + '}})'"
    pattern = f"regexp({parts}, 'g')"
    return f"split(trim(replace(datum.label, {pattern}, '$1$2\\n')), '\\n')"


def lines_of(text: str, letters: int) -> list[str]:
    """The same here: lines end at blanks where there are some, else within a path.

    >>> lines_of("layer1 + layer2 -> group1 : mse", 12)
    ['layer1 +', 'layer2 ->', 'group1 : mse']
    >>> lines_of("encoder.layer.5.attention", 12)
    ['encoder.', 'layer.5.', 'attention']
    """
    found = re.findall(rf"(.{{1,{letters}}})(?:[ ]+|$)|(.{{1,{letters - 1}}}{_BREAKS}|.{{{letters}}})", text)
    return [one or other for one, other in found] or [text]


def page_config() -> dict[str, Any]:
    """Vega-Lite's config for a chart inside a page: colours come from CSS, so they follow light and dark.

    ``var(--run-1)`` and on are the page's; outside of it, as in a saved picture, the light palette stands in.
    """
    ink = {"labelColor": "currentColor", "titleColor": "currentColor"}
    colours = [f"var(--run-{number}, {colour})" for number, colour in enumerate(LIGHT, start=1)]
    return _config("transparent", ink, {"gridColor": "currentColor", "gridOpacity": 0.14}, colours, "system-ui")


def _config(
    background: str, ink: dict[str, str], grid: dict[str, Any], colours: Sequence[str], font: str
) -> dict[str, Any]:
    return {
        "background": background,
        "font": f"{font}, sans-serif",
        "view": _PLAIN["view"],
        "axis": {**_PLAIN["axis"], **ink, **grid, "labelFontSize": 11, "titleFontSize": 12},
        "legend": {**_PLAIN["legend"], **ink, "labelFontSize": 12},
        "title": {"color": ink["titleColor"], "fontSize": 14, "fontWeight": 600, "anchor": "start", "offset": 10},
        "range": {"category": list(colours)},
    }


# Dark ink on white, not on nothing: a transparent picture cannot be read where its reader's page is dark.
FIGURE_CONFIG = _config(
    LIGHT_BACKGROUND,
    {"labelColor": "#303030", "titleColor": "#303030"},
    {"gridColor": "#e2e2e2"},
    LIGHT,
    "Helvetica, Arial",
)


def to_svg(chart: alt.TopLevelMixin) -> str:
    """A static figure, dark ink on a white ground, 640 pixels wide where the chart fits its container.

    Its texts take the same room in whatever font the reader has. Made without a browser and without the network: data
    given by an address is refused.
    """
    return with_fixed_widths(
        vl_convert.vegalite_to_svg(
            _static(chart), vl_version=_vegalite_version(), config=FIGURE_CONFIG, allowed_base_urls=[]
        )
    )


def _static(chart: alt.TopLevelMixin) -> dict[str, Any]:
    spec: dict[str, Any] = all_printable(chart.to_dict())
    if spec.get("width") == "container":
        spec["width"] = FIGURE_WIDTH
    return spec


def javascript() -> str:
    """Vega, Vega-Lite and vega-embed as one module that sets ``window.vegaEmbed``; loads nothing from anywhere."""
    version = _vegalite_version()
    # vl-convert's type hints ask for a snippet that the function itself does without.
    options: Any = {} if version is None else {"vl_version": version}
    return str(vl_convert.javascript_bundle(**options))


def _vegalite_version() -> str | None:
    """The bundled Vega-Lite that Altair writes for; None, the newest bundled, where that one is not there."""
    wanted = alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]
    return wanted if wanted in vl_convert.get_vegalite_versions() else None
