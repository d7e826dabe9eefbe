"""Tables of texts: TSV, CSV, JSON lines and Parquet, as columns of texts and one of labels."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlink.errors import LayerlinkError, UsageError, unknown_name
from layerlink.files.inside import regular
from layerlink.optional import need

Column = str | int  # its name, or its place from 0 in a file whose first line is a row, too
MOST_BYTES = 2**32  # of a file


@dataclass(frozen=True)
class Wanted:
    """What is read of a table.

    Args:
        columns: of texts, one or two.
        label: the column of labels; None: none is read.
        asked: what a message calls the columns by, the label's field beside it.

    Raises:
        UsageError: where some are named and others told by their places, or one stands twice.
    """

    columns: tuple[Column, ...]
    label: Column | None
    asked: str = "data.texts.columns"

    def __post_init__(self) -> None:
        every = self.every
        if len({type(it) for it in every}) > 1:
            raise UsageError(f"columns are all named, or all told by their places from 0; got {list(every)}")
        if len(set(every)) < len(every):
            raise UsageError(f"a column is either a text or the label; got {list(every)}")

    @property
    def every(self) -> tuple[Column, ...]:
        """All columns, the label last."""
        return self.columns if self.label is None else (*self.columns, self.label)

    @property
    def has_header(self) -> bool:
        """Whether the first line of a file holds names."""
        return isinstance(self.columns[0], str)


@dataclass(frozen=True)
class Table:
    """What a file holds of it.

    Args:
        path: the file.
        columns: of texts, each a text a row.
        labels: one a row, as text; None where a row has none.
        rows: where each row stands in the file, in words: "line 3", "row 2".
        classes: names of the labels 0, 1, ..., where the file tells them.
    """

    path: Path
    columns: tuple[list[str], ...]
    labels: list[str | None]
    rows: list[str]
    classes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)


def read_table(path: Path, wanted: Wanted) -> Table:
    """A file's columns.

    Args:
        path: it ends in one of ``ENDINGS``.
        wanted: which columns.

    Raises:
        UsageError: where a column is not there; the closest names are told.
        LayerlinkError: where the file cannot be read, or a row is not like the others; the row is told.
    """
    try:
        return ENDINGS[path.suffix.lower()](path, wanted)
    except OSError as error:
        raise LayerlinkError(f"{path} cannot be read ({error})") from error


def read_lines(path: Path) -> Table:
    """A file with a text a line, without labels; lines without a letter are none.

    Raises:
        LayerlinkError: where it cannot be read, or holds no text.
    """
    try:
        lines = enumerate(_text(path).split("\n"), 1)
    except OSError as error:
        raise LayerlinkError(f"{path} cannot be read ({error})") from error
    return _table(
        path, Wanted((0,), None), [(f"line {number}", [line.strip()]) for number, line in lines if line.strip()]
    )


def _separated(path: Path, wanted: Wanted) -> Table:
    tabs = path.suffix.lower() == ".tsv"
    # In files of tabs a quotation mark is one, as in the usual benchmarks; in others it may hold commas and lines.
    style: dict[str, Any] = (
        {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"delimiter": ",", "strict": True}
    )
    lines = csv.reader(io.StringIO(_text(path), newline=""), **style)
    names: Sequence[str] | None = None
    places: list[int] = []
    rows: list[tuple[str, list[Any]]] = []
    was = csv.field_size_limit(2**31 - 1)  # of the whole process: what others read is bounded as before
    try:
        for line in lines:
            if not line or (len(line) == 1 and not line[0].strip()):
                continue
            if not places:
                names = line if wanted.has_header else None
                places = _places(path, wanted, line)
                width = len(line)
                if names is not None:
                    continue
            if len(line) != width:
                what = "tabs" if tabs else "commas"
                raise LayerlinkError(
                    f"{path}, line {lines.line_num}: expected {width} fields between {what}, as in the first line; got "
                    f"{len(line)}"
                )
            rows.append((f"line {lines.line_num}", [line[place] for place in places]))
    except csv.Error as error:
        raise LayerlinkError(f"{path}, line {lines.line_num}: {error}") from None
    finally:
        csv.field_size_limit(was)
    return _table(path, wanted, rows)


def _json_lines(path: Path, wanted: Wanted) -> Table:
    _check_named(path, wanted)
    rows: list[tuple[str, list[Any]]] = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise LayerlinkError(f"{path}, line {number}: expected a JSON object in every line ({error})") from None
        if not isinstance(found, dict):
            raise LayerlinkError(f"{path}, line {number}: expected a JSON object; got {type(found).__name__}")
        if not rows:
            _places(path, wanted, list(found))
        rows.append((f"line {number}", [found.get(str(name)) for name in wanted.every]))
    return _table(path, wanted, rows)


def _parquet(path: Path, wanted: Wanted) -> Table:
    parquet = need("pyarrow.parquet", "text", f"{path}: reading Parquet")
    arrow = need("pyarrow", "text", f"{path}: reading Parquet")
    _check_named(path, wanted)
    names = [str(it) for it in wanted.every]
    try:
        with parquet.ParquetFile(regular(path, most=MOST_BYTES)) as file:
            _places(path, wanted, file.schema_arrow.names)
            if twice := [name for name in names if file.schema_arrow.names.count(name) > 1]:
                raise LayerlinkError(f"{path}: there are several columns {twice[0]!r}. Rename all but one")
            table = file.read(columns=names)
            classes = _classes_of_hub(file.schema_arrow.metadata or {}, str(wanted.label))
    except (arrow.ArrowException, ValueError) as error:
        raise LayerlinkError(f"{path} is no Parquet file that can be read ({str(error).splitlines()[0]})") from None
    columns = [table.column(name).to_pylist() for name in names]
    rows = [(f"row {n}", list(row)) for n, row in enumerate(zip(*columns, strict=True), 1)]
    return _table(path, wanted, rows, classes)


def of_columns(
    path: Path, columns: Sequence[Sequence[Any]], wanted: Wanted, classes: tuple[str, ...] | None = None
) -> Table:
    """A table of the wanted columns, which another library has read."""
    each = enumerate(zip(*columns, strict=True), 1)
    return _table(path, wanted, [(f"row {n}", list(row)) for n, row in each], classes)


ENDINGS: dict[str, Callable[[Path, Wanted], Table]] = {
    ".tsv": _separated,
    ".csv": _separated,
    ".jsonl": _json_lines,
    ".json": _json_lines,
    ".parquet": _parquet,
}


def _text(path: Path) -> str:
    try:
        with regular(path, most=MOST_BYTES).open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise LayerlinkError(f"{path} is no UTF-8 text: byte {error.start} cannot be read. Save it as UTF-8") from None


def _check_named(path: Path, wanted: Wanted) -> None:
    if not wanted.has_header:
        raise UsageError(f"{path}: its columns have names; name them in {' and '.join(_fields(wanted))}")


def _places(path: Path, wanted: Wanted, there: Sequence[str]) -> list[int]:
    """Where the columns stand in a row; in a file without names the first row is given.

    Raises:
        UsageError: where one is missing.
    """
    problems, places = [], list[int]()
    fields = _fields(wanted)
    for field, column in zip((*(fields[0] for _ in wanted.columns), *fields[1:]), wanted.every, strict=True):
        if isinstance(column, int):
            if column >= len(there):
                problems.append(f"{field}: there is no column {column}: a row has {len(there)}, from 0 on")
            places.append(column)
        elif column not in there:
            # A file of rows alone: its first row would be taken for names.
            names = [name if len(name) <= 40 else f"{name[:37]}..." for name in there]
            problems.append(f"{field}: {unknown_name('column', column, names)} The first line is {', '.join(names)}")
        else:
            places.append(list(there).index(column))
    if problems:
        hint = "" if not wanted.has_header else ". Where that is no line of names, tell columns by their places from 0"
        raise UsageError(f"{path}: {'; '.join(problems)}{hint}")
    return places


def _fields(wanted: Wanted) -> tuple[str, ...]:
    """What messages call the columns of texts by, and the label's where one is read."""
    return (wanted.asked,) if wanted.label is None else (wanted.asked, "data.texts.label")


def _table(
    path: Path, wanted: Wanted, rows: list[tuple[str, list[Any]]], classes: tuple[str, ...] | None = None
) -> Table:
    if not rows:
        raise LayerlinkError(f"{path} holds no row")
    count = len(wanted.columns)
    for where, values in rows:
        for value in values[:count]:
            if not isinstance(value, str):
                what = "no text" if value is None else f"{value!r:.40}, which is no text"
                raise LayerlinkError(f"{path}, {where}: expected a text; got {what}")
            if not value.isascii():
                _check_whole(path, where, value)
    columns = tuple(list(column) for column in zip(*(values[:count] for _, values in rows), strict=True))
    labels: list[str | None] = [None] * len(rows) if wanted.label is None else list(_labels(path, rows))
    return Table(path, columns, labels, [where for where, _ in rows], classes)


def _check_whole(path: Path, where: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON's half of a pair, as in texts that were cut by their bytes
        raise LayerlinkError(
            f"{path}, {where}: letter {error.start + 1:,} of the text is half of one ({text[error.start]!r}). Remove it"
        ) from None


def _labels(path: Path, rows: Sequence[tuple[str, list[Any]]]) -> Iterator[str | None]:
    for where, (*_, label) in rows:
        if label is None or label in ("", -1, "-1") or label != label:  # NaN, as tables have it of nothing
            yield None
        elif isinstance(label, bool | int | str):
            yield str(int(label)) if isinstance(label, bool) else str(label).strip() or None
        elif isinstance(label, float) and label.is_integer():
            yield str(int(label))
        else:
            raise LayerlinkError(f"{path}, {where}: expected a label, a name or a whole number; got {label!r:.40}")


def _classes_of_hub(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...] | None:
    """Class names as Parquet files of the Hugging Face hub tell them."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, ValueError, TypeError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) and names else None
