"""What a model says of files of images, or of tables of texts, as rows of a CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlink.data.folders.tree import ENDINGS
from layerlink.data.text.preprocessing import TextPreprocessing
from layerlink.design.use.texts import text_rows
from layerlink.design.use.usable import Usable
from layerlink.errors import UsageError
from layerlink.files.whole import write_text
from layerlink.printable import in_a_cell
from layerlink.tasks import CausalLM


@dataclass(frozen=True)
class Answers:
    """What was said of files.

    Args:
        rows: of each image its path as ``file``, of each text ``file``, ``row`` and the text; and what the task says.
        bad: files that could not be read, and why.
    """

    rows: list[dict[str, Any]]
    bad: list[tuple[Path, str]]


def answers_of(model: Usable, places: Sequence[Path], columns: Sequence[str] = ()) -> Answers:
    """What a model says of image files, or of files of texts.

    Args:
        model: as ``load`` gives it.
        places: files, or folders that are searched at any depth; what begins with a dot is hidden. Of texts: tables, or
            ``.txt`` files with a text a line.
        columns: of texts in these tables; none: those that the model was trained on.

    Raises:
        UsageError: where one of them is not there, there is nothing to answer in all of them, or it is a language
            model.
    """
    if isinstance(model.task, CausalLM):
        raise UsageError(
            "a language model answers with no class. In Python: layerlink.load(RUN).model.generate(...) goes on with "
            "texts"
        )
    missing = [str(place) for place in places if not place.exists()]
    if missing:
        raise UsageError(f"there is no {' and no '.join(missing)}")
    if isinstance(model.preprocessing, TextPreprocessing):
        return Answers(list(text_rows(model, model.preprocessing, places, columns)), [])
    if columns:
        raise UsageError("--column is of tables of texts, and the model takes images")
    return _of_images(model, places)


def _of_images(model: Usable, places: Sequence[Path]) -> Answers:
    files = list(dict.fromkeys(file for place in places for file in _files(place)))
    if not files:
        raise UsageError(
            f"{', '.join(map(str, places))}: no image is there. Images end with {', '.join(sorted(ENDINGS))}"
        )
    found = Answers([], [])
    for path, said in model.of_files(files):
        if isinstance(said, str):
            found.bad.append((path, said))
        else:
            found.rows.append({"file": str(path), **said})
    return found


def _files(place: Path) -> Iterator[Path]:
    """The images at a place, in the order of their names."""
    if place.is_file():
        if place.suffix.lower() not in ENDINGS:
            raise UsageError(f"{place} is no image. Images end with {', '.join(sorted(ENDINGS))}")
        yield place
        return
    if not place.is_dir():
        raise UsageError(f"{place} is neither a file nor a folder, and is left alone")
    for path in sorted(place.iterdir()):
        if not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() in ENDINGS):
            yield from _files(path)


def write_answers(found: Answers, out: Path | None) -> None:
    """Write rows as CSV, to standard output where no file is named.

    Names that a spreadsheet would take for formulas are quoted.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(dict.fromkeys(name for row in found.rows for name in row))
    writer.writerow([in_a_cell(name) for name in names])
    for row in found.rows:
        cells = [row.get(name, "") for name in names]
        writer.writerow([in_a_cell(cell) if isinstance(cell, str) else f"{cell:.6g}" for cell in cells])
    if out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_text(out, text.getvalue())
