"""A page about runs: one HTML file that needs nothing else, neither network nor server.

First the sentence that answers the question, then tables and charts, then what was run. Everything that comes
from a caller is shown as text; a content security policy lets only this module's own two scripts run.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2  # torch brings it
from markupsafe import Markup

from layerlink.files.whole import write_whole
from layerlink.lab.report.page import charts as drawing
from layerlink.lab.report.page.stills import Stills, hexadecimal
from layerlink.printable import all_printable, one_line

if TYPE_CHECKING:
    import altair as alt


@dataclass(frozen=True)
class Cell:
    """A number shown in the caller's words, such as ``Cell("98.3 %", 98.3)``.

    Args:
        text: what is shown.
        value: what the column sorts by. None or nan: nothing to compare, so below everything else.
    """

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """What a table of the page holds.

    Args:
        columns: headings, one a column.
        rows: as many entries each. The first entry names the row. Numbers sort as numbers, strings as text in
            which whole numbers count ("run 9" before "run 10"); for a number with a unit use ``Cell``.
        note: one or two sentences below the table, such as n and what the spread is.
        best: place of the row that is marked as the best; None: no row is.

    Raises:
        ValueError: where a row has more or fewer entries than there are columns.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | Cell, ...], ...]
    note: str = ""
    best: int | None = None

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns):
                raise ValueError(f"row {number} has {len(row)} entries; the table has {len(self.columns)} columns")


@dataclass(frozen=True)
class Picture:
    """A chart of the page.

    Args:
        heading: stands in for the chart's own title.
        chart: any Altair chart.
        wide: whether it takes the page's whole width; else two stand beside each other where there is room.
    """

    heading: str
    chart: alt.Chart | alt.LayerChart | alt.ConcatChart
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page under one heading: text, then a table, then pictures.

    Args:
        heading: in a few words.
        table: None for none.
        pictures: in order.
        text: a sentence or two below the heading.
        stills: images in rows and columns, after the table.
    """

    heading: str
    table: Table | None = None
    pictures: tuple[Picture, ...] = ()
    text: str = ""
    stills: Stills | None = None


def write_sections(
    path: Path, *, title: str, answer: str, sections: Sequence[Section], provenance: Sequence[tuple[str, str]]
) -> None:
    """Write the page to ``path``, whole or not at all; the folder is made where it is missing.

    Args:
        path: the HTML file; one that is there already is replaced.
        title: of the page, in a few words.
        answer: the sentences that answer the reader's question.
        sections: in order. A picture's heading stands in for the chart's own title.
        provenance: what was run, as (name, text): command, versions, commit, seed, hardware, how to repeat it.
            A name may come more than once.

    Raises:
        LayerlinkError: where the file cannot be written.
        ValueError: where a chart holds nan or infinity, which JSON has no word for.
    """
    # Newlines as they are: a carriage return that a browser drops would change what the policy's hash is of.
    page = _render(title, answer, sections, provenance).encode(errors="replace")
    write_whole(path, lambda part: part.write_bytes(page))


def _render(title: str, answer: str, sections: Sequence[Section], provenance: Sequence[tuple[str, str]]) -> str:
    pictures = [picture for section in sections for picture in section.pictures]
    numbers = iter(range(len(pictures)))
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: one_line(value.replace("\n", " ")) if type(value) is str else value,  # no markup
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    environment.filters["policy_hash"] = _policy_hash
    environment.filters["hexadecimal"] = hexadecimal
    source = resources.files("layerlink.lab.report.page").joinpath("page.html.j2").read_text("utf-8")
    return environment.from_string(source.replace("\r\n", "\n")).render(
        title=title,
        answer=answer,
        sections=[
            {
                "heading": section.heading,
                "text": section.text,
                "table": None if section.table is None else _cells(section.table),
                "stills": section.stills,
                "pictures": [(next(numbers), it.heading, it.wide, _height(it.chart)) for it in section.pictures],
            }
            for section in sections
        ],
        drawings={
            "config": drawing.page_config(),
            "roomName": drawing.ROOM,
            "specs": [_spec(picture.heading, picture.chart) for picture in pictures],
        },
        vega=_inline(drawing.javascript()) if pictures else None,
        provenance=provenance,
        light=drawing.LIGHT,
        dark=drawing.DARK,
        light_background=drawing.LIGHT_BACKGROUND,
        dark_background=drawing.DARK_BACKGROUND,
    )


def _height(chart: alt.TopLevelMixin) -> int:
    """Pixels that the chart will take at least: its marks, axes and legend."""
    spec = chart.to_dict()
    if "concat" in spec:
        rows = -(-len(spec["concat"]) // spec["columns"])
        return int(rows * (drawing.PANEL_HEIGHT + 70)) + 30
    height = spec.get("height")
    return (int(height) if isinstance(height, int | float) else 200) + 50


def _spec(heading: str, chart: alt.TopLevelMixin) -> dict[str, Any]:
    spec: dict[str, Any] = all_printable(chart.to_dict())
    spec.pop("title", None)  # the figure's heading says it
    spec.pop("usermeta", None)  # may hold options for vega-embed, which are the page's to choose
    spec.setdefault("description", heading)  # becomes the picture's label for screen readers
    return spec


def _cells(table: Table) -> dict[str, Any]:
    """The table in the template's words: texts, what to sort by, and which columns align as numbers."""
    rows = [[_cell(entry) for entry in row] for row in table.rows]
    numeric = [any(row[i]["kind"] == "number" for row in rows) for i in range(len(table.columns))]
    return {
        "columns": list(zip(table.columns, numeric, strict=True)),
        "rows": rows,
        "note": table.note,
        "best": table.best,
    }


def shown_text(entry: str | float | int | Cell) -> str:
    """What a table shows for an entry."""
    if isinstance(entry, str | Cell):
        return one_line(entry if isinstance(entry, str) else entry.text)
    return f"{entry:,}" if isinstance(entry, int) else f"{entry:,.6g}"


def _cell(entry: str | float | int | Cell) -> dict[str, str]:
    if isinstance(entry, str):
        return {"text": entry, "kind": "text", "key": entry}
    if not isinstance(entry, Cell):
        entry = Cell(shown_text(entry), entry)
    if entry.value is None or math.isnan(entry.value):
        return {"text": entry.text, "kind": "missing", "key": ""}
    # JavaScript's Number reads "Infinity", not "inf".
    return {"text": entry.text, "kind": "number", "key": str(entry.value).replace("inf", "Infinity")}


def _inline(script: str) -> Markup:
    """``script`` as the content of a script element, which ``</script`` or ``<!--`` in a string would end or change."""
    return Markup(re.sub(r"<(/script|!--)", r"<\\\1", script.replace("\r\n", "\n"), flags=re.IGNORECASE))  # noqa: S704


def _policy_hash(script: str) -> str:
    """The name by which a content security policy allows exactly this script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
