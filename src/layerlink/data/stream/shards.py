"""Parquet files of encoded images, with columns of any name; rows are read in their groups."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from layerlink.config.image_size import ImageSize
from layerlink.data.formats.decode import MOST_PIXELS, BadImageError
from layerlink.data.formats.parquet import class_names
from layerlink.data.images import Source
from layerlink.data.stream.images import Streaming
from layerlink.data.stream.labels import numbered
from layerlink.data.stream.pictures import Pictures
from layerlink.data.stream.source import Encoded, by_role, source_from
from layerlink.errors import LayerlinkError, UsageError, unknown_name
from layerlink.files.inside import regular
from layerlink.files.paths import expanded
from layerlink.optional import need

_MOST_BYTES = 2**30  # of a group of rows, unpacked
_IMAGES = ("image", "img", "jpg", "png", "picture", "bytes")  # usual names, the likeliest first
_LABELS = ("label", "labels", "fine_label", "cls", "class", "target", "category")
ARGUMENTS = ("image", "label")


class ParquetRows(Pictures):
    """Images in a column of Parquet files.

    Args:
        paths: of the files.
        column: that holds them: bytes, or a struct with a field ``bytes``.
    """

    def __init__(self, paths: Sequence[Path], column: str) -> None:
        self.paths, self.column = tuple(paths), column
        groups = [(number, group, rows) for number, path in enumerate(paths) for group, rows in _groups(path)]
        self.file = np.array([it[0] for it in groups], dtype=np.int64)
        self.group = np.array([it[1] for it in groups], dtype=np.int64)
        self.ends = np.cumsum([it[2] for it in groups], dtype=np.int64)
        self._own = threading.local()

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def _place(self, index: int) -> tuple[int, int]:
        """The group that holds a row, and the row in it."""
        group = int(np.searchsorted(self.ends, index, side="right"))
        return group, index - (int(self.ends[group - 1]) if group else 0)

    def read(self, index: int) -> bytes:
        """The image in a row."""
        group, row = self._place(index)
        held = getattr(self._own, "held", None)
        if held is None or held[:2] != (os.getpid(), group):
            held = self._own.held = (os.getpid(), group, self._column_of(group))
        value = held[2][row].as_py()
        if isinstance(value, dict):
            value = value.get("bytes")
        if not isinstance(value, bytes):
            raise BadImageError(
                f"{self.where(index)}: expected the bytes of an image; got none. Get the file again, or leave such "
                "images out with skip_bad."
            )
        return value

    def _column_of(self, group: int) -> Any:
        parquet = need("pyarrow.parquet", "images", "reading Parquet")
        path = self.paths[int(self.file[group])]
        try:
            with parquet.ParquetFile(regular(path)) as file:
                return file.read_row_group(int(self.group[group]), columns=[self.column]).column(0)
        except LayerlinkError:
            raise
        except Exception as error:  # Arrow meets damage with its own errors and with those of Python alike
            raise _damaged(path, error) from error

    def where(self, index: int) -> str:
        """The file, and the row in its group."""
        group, row = self._place(index)
        return f"{self.paths[int(self.file[group])]}, row {row} of group {int(self.group[group])}"

    def checksum(self) -> int:
        """Of names and lengths of the files, and the column."""
        facts = [f"{path.name} {path.stat().st_size}" for path in self.paths]
        return zlib.crc32("\n".join([self.column, *facts]).encode())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_own"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _own=threading.local())


def load_parquet(
    root: Path | None,
    *,
    size: ImageSize,
    streaming: Streaming,
    skip_bad: bool = False,
    most_pixels: int = MOST_PIXELS,
    image: str | None = None,
    label: str | None = None,
) -> Source:
    """The images of the Parquet files below ``root``, told apart by train, val and test in names or folders.

    Args:
        root: the folder, or one file.
        size: height and width to bring every image to, in pixels.
        streaming: when and how images are streamed.
        skip_bad: leave images out that cannot be used.
        most_pixels: that an image may have.
        image: the column of images; found by kind and usual names where it is not given.
        label: the same of labels, whole numbers or text.

    Raises:
        UsageError: where there are no such files or columns; it tells the closest.
        LayerlinkError: where a file is damaged, or a row has no label.
    """
    if root is None:
        raise UsageError("parquet needs root, a folder of .parquet files")
    root, asked = expanded(root), {"image": image, "label": label}
    if not root.exists():
        raise UsageError(f"parquet: root {str(root)!r} does not exist. Give a folder of .parquet files")
    files = [root] if root.is_file() else sorted(root.rglob("*.parquet"))
    if not files:
        raise UsageError(f"parquet: root {str(root)!r} holds no .parquet files")
    roles = by_role(root if root.is_dir() else root.parent, files, ".parquet")
    pictures, targets, names = _columns(files[0], asked)
    said = {name: [it for path in paths for it in _labels(path, targets)] for name, paths in roles.items()}
    labels, classes = numbered(said, names, str(root))
    parts = {name: Encoded(ParquetRows(paths, pictures), labels[name]) for name, paths in roles.items()}
    return source_from(
        parts, classes, size, streaming, skip_bad=skip_bad, most_pixels=most_pixels, where=f"parquet: {root}"
    )


def _damaged(path: Path, error: Exception) -> LayerlinkError:
    return LayerlinkError(
        f"{path}: expected a whole Parquet file; it cannot be read ({type(error).__name__}: {error}). The file is "
        "damaged or cut short: get it again."
    )


def _groups(path: Path) -> list[tuple[int, int]]:
    """The groups of a file, and how many rows each has."""
    metadata = _metadata(path)[0]
    groups = [(place, metadata.row_group(place)) for place in range(metadata.num_row_groups)]
    for place, group in groups:
        if group.total_byte_size > _MOST_BYTES:
            raise LayerlinkError(
                f"{path}: group {place} of rows has {group.total_byte_size:,} bytes, which are read for each of its "
                f"images; at most {_MOST_BYTES:,}. Write the file with smaller groups (row_group_size=100)"
            )
    return [(place, group.num_rows) for place, group in groups]


def _metadata(path: Path) -> tuple[Any, Any]:
    parquet = need("pyarrow.parquet", "images", "reading Parquet")
    try:
        with parquet.ParquetFile(regular(path)) as file:
            return file.metadata, file.schema_arrow
    except LayerlinkError:
        raise
    except Exception as error:
        raise _damaged(path, error) from error


def _columns(path: Path, asked: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...] | None]:
    """The columns of images and labels, and the names of the classes where the file tells them."""
    schema = _metadata(path)[1]
    types = need("pyarrow.types", "images", "reading Parquet")

    def holds_image(kind: Any) -> bool:
        if types.is_struct(kind):
            return any(it.name == "bytes" and holds_image(it.type) for it in kind)
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    def holds_label(kind: Any) -> bool:
        kind = kind.value_type if types.is_dictionary(kind) else kind
        return bool(types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind))

    of_kind = {
        "image": ([name for name in schema.names if holds_image(schema.field(name).type)], _IMAGES),
        "label": ([name for name in schema.names if holds_label(schema.field(name).type)], _LABELS),
    }
    chosen = {}
    for role, (fitting, usual) in of_kind.items():
        name = asked.get(role)
        if name is not None and name not in schema.names:
            raise UsageError(f"{path}: data.arguments.{role}: {unknown_name('column', str(name), schema.names)}")
        if name is None:
            known = [it for it in usual if it in fitting] or fitting
            if not known or (len(known) > 1 and known[0] not in usual):
                raise UsageError(
                    f"{path}: which column holds the {role}? There are {', '.join(schema.names)}. Write "
                    f"data.arguments={{{role}: COLUMN}}"
                )
            name = known[0]
        if name not in fitting:
            holds = "encoded images (bytes, or a struct with bytes)" if role == "image" else "whole numbers or text"
            raise UsageError(f"{path}: column {name!r} must hold {holds}; it holds {schema.field(name).type}")
        chosen[role] = str(name)
    return chosen["image"], chosen["label"], class_names(schema.metadata or {}, chosen["label"])


def _labels(path: Path, column: str) -> list[int | str]:
    parquet = need("pyarrow.parquet", "images", "reading Parquet")
    try:
        with parquet.ParquetFile(regular(path)) as file:
            if column not in file.schema_arrow.names:
                raise UsageError(f"{path}: {unknown_name('column', column, file.schema_arrow.names)}")
            found: list[int | str] = file.read(columns=[column]).column(0).to_pylist()
    except LayerlinkError:
        raise
    except Exception as error:
        raise _damaged(path, error) from error
    missing = [row for row, label in enumerate(found) if label is None]
    if missing:
        raise LayerlinkError(
            f"{path}: {len(missing)} of {len(found)} rows have no {column!r}; the first is {missing[0]}"
        )
    return found
