"""What a model says of texts in files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from layerlink.data.text.preprocessing import TextPreprocessing
from layerlink.data.text.tables import ENDINGS, Column, Table, Wanted, read_lines, read_table
from layerlink.design.use.usable import BATCH, Usable
from layerlink.errors import UsageError

LINES = ".txt"  # a text a line


def text_rows(
    model: Usable, how: TextPreprocessing, places: Sequence[Path], columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Rows ``file``, ``row``, ``text`` (of pairs ``text 1``, ``text 2``), and what the task says of each text.

    Args:
        model: takes texts.
        how: its preprocessing.
        places: files.
        columns: of the tables; none: those that the model was trained on. Digits are places from 0.

    Raises:
        UsageError: where a file is of no known kind, a column is missing or there are too few; all at once.
        LayerlinkError: where a file cannot be read.
    """
    wanted, tables, problems = _wanted(how, columns), list[Table](), []
    for place in places:
        try:
            tables.append(_read(place, wanted))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("; ".join(problems))
    names = ["text"] if len(wanted.columns) == 1 else ["text 1", "text 2"]
    for table in tables:
        texts = list(zip(*table.columns, strict=True))
        for where, text, said in zip(table.rows, texts, _said(model, texts), strict=True):
            yield {"file": str(table.path), "row": where, **dict(zip(names, text, strict=True)), **said}


def _wanted(how: TextPreprocessing, columns: Sequence[str]) -> Wanted:
    given: tuple[Column, ...] = tuple(int(it) if it.isdecimal() else it for it in columns)
    if columns and len(columns) != len(how.columns):
        what = "one text a row: say --column once" if len(how.columns) == 1 else "pairs of texts: say --column twice"
        raise UsageError(f"the model takes {what}")
    return Wanted(given or how.columns, None, asked="--column")


def _read(place: Path, wanted: Wanted) -> Table:
    kinds = [*ENDINGS, *([LINES] if len(wanted.columns) == 1 else [])]
    if place.is_dir() or place.suffix.lower() not in kinds:
        raise UsageError(f"{place} is no file of texts. Those end with {', '.join(sorted(kinds))}")
    return read_lines(place) if place.suffix.lower() == LINES else read_table(place, wanted)


def _said(model: Usable, texts: Sequence[tuple[str, ...]]) -> list[dict[str, str | float]]:
    """Of every text; those that are about as long share a batch."""
    order = sorted(range(len(texts)), key=lambda place: sum(map(len, texts[place])))
    said: list[dict[str, str | float]] = [{}] * len(texts)
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        for place, it in zip(places, model.told([texts[place] for place in places]), strict=True):
            said[place] = it
    return said
