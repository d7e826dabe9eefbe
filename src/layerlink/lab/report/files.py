"""A report as files beside its page: Markdown, a CSV a table, an SVG a figure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from layerlink.files.whole import write_whole
from layerlink.lab.report.page.charts import to_svg
from layerlink.lab.report.page.page import Section, Table, shown_text
from layerlink.lab.report.page.stills import Stills, hexadecimal
from layerlink.printable import in_a_cell, one_line

_LONGEST = 60  # letters of a file's name


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], within: Path | None = None) -> None:
    """Write rows with the same names, every digit of every number; what is not known stays empty.

    Args:
        path: of the file.
        rows: to write.
        within: a folder that it must lie in, links followed.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer.writerow([in_a_cell(name) for name in names])
    for row in rows:
        cells = [row.get(name) for name in names]
        writer.writerow([in_a_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    _write(path, text.getvalue(), within)


def write_figures(folder: Path, sections: Sequence[Section], within: Path | None = None) -> list[str]:
    """Write every picture as SVG, and images as PNG; the pictures' files' names, in their order."""
    names: list[str] = []
    for picture in [picture for section in sections for picture in section.pictures]:
        names.append(file_name(picture.heading, names))
        _write(folder / names[-1], to_svg(picture.chart.properties(title=picture.heading)), within)
    for stills in (section.stills for section in sections if section.stills is not None):
        for row, images in enumerate(stills.rows):
            for column, still in enumerate(images):
                png = still.png
                write_whole(folder / stills.file_name(row, column), partial(_put, png), within)
    return names


def _put(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def file_name(heading: str, taken: Collection[str] = ()) -> str:
    """A name for a figure's file: letters, digits and dashes of its heading, and no name twice.

    >>> file_name("Term: group3 : mse")
    'term-group3-mse.svg'
    """
    stem = re.sub(r"[^a-z0-9]+", "-", heading.lower())[:_LONGEST].strip("-") or "figure"
    name, number = f"{stem}.svg", 2
    while name in taken:
        name, number = f"{stem}-{number}.svg", number + 1
    return name


def write_markdown(
    path: Path,
    *,
    title: str,
    answer: str,
    sections: Sequence[Section],
    figures: Sequence[str],
    provenance: Sequence[tuple[str, str]],
) -> None:
    """Write the page's content as Markdown, with links to the figures beside it.

    Args:
        path: of the file.
        title: of the page.
        answer: its first sentences.
        sections: of the page.
        figures: files in the folder ``figures`` beside ``path``, in the pictures' order.
        provenance: as on the page.
    """
    lines = [f"# {escaped(title)}", "", escaped(answer)]
    files = iter(figures)
    for section in sections:
        lines += ["", f"## {escaped(section.heading)}"]
        if section.text:
            lines += ["", escaped(section.text)]
        if section.table is not None:
            lines += ["", *_table(section.table)]
            if section.table.note:
                lines += ["", escaped(section.table.note)]
        if section.stills is not None:
            lines += ["", *_stills(section.stills)]
        for picture in section.pictures:
            lines += ["", f"![{escaped(picture.heading)}](figures/{next(files)})"]
    lines += ["", "## What was run", ""]
    lines += [f"- {escaped(name)}: {_code(text)}" for name, text in provenance]
    _write(path, "\n".join(lines) + "\n")


def _stills(stills: Stills) -> list[str]:
    """Images in a table, and what their colours stand for."""
    legend = ", ".join(f"`{hexadecimal(colour)}` {escaped(name)}" for colour, name in stills.legend)
    rows = [
        [f"![{escaped(still.told)}](figures/{stills.file_name(row, column)})" for column, still in enumerate(images)]
        for row, images in enumerate(stills.rows)
    ]
    return [
        f"| {' | '.join(map(escaped, stills.columns))} |",
        f"|{'|'.join('---' for _ in stills.columns)}|",
        *(f"| {' | '.join(row)} |" for row in rows),
        *(["", legend] if legend else []),
    ]


def _table(table: Table) -> list[str]:
    rows = [[escaped(shown_text(entry)) for entry in row] for row in table.rows]
    if table.best is not None:
        rows[table.best][0] = f"**{rows[table.best][0]}** (best)"
    numeric = [any(not isinstance(row[place], str) for row in table.rows) for place in range(len(table.columns))]
    return [
        f"| {' | '.join(map(escaped, table.columns))} |",
        f"|{'|'.join('---:' if number else '---' for number in numeric)}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    text = one_line(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", text)


def _code(text: str) -> str:
    """Text as code, fenced by more backticks than it holds in a row."""
    text = one_line(" ".join(text.split()))
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    pad = " " if len(fence) > 1 else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _write(path: Path, text: str, within: Path | None = None) -> None:
    content = text.encode(errors="replace")
    write_whole(path, lambda part: part.write_bytes(content), within)
