"""Image classification sets in the column layout of the Hugging Face hub: shards of encoded images.

A split is ``<split>-00000-of-0000N.parquet`` and on. Its columns are ``img``, a struct whose ``bytes`` are an
encoded image, and an integer label column; the class names are in the file's ``huggingface`` metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from layerlink.data.formats.decode import BadImageError, Pixels, decode_all, opened
from layerlink.errors import LayerlinkError
from layerlink.files.inside import regular
from layerlink.optional import need

MOST_BYTES = 2**30  # of a shard, unpacked; the largest of CIFAR has 120 MB
_SHARD = re.compile(r"(train|test)-(\d{5})-of-(\d{5})\.parquet")


def find_shards(folder: Path) -> dict[str, list[Path]]:
    """The shards of each split in ``folder``, by split and in order; empty where it holds no shard at all.

    Raises:
        LayerlinkError: where a split or one of its shards is missing, or shards of two cuttings are mixed.
    """
    found: dict[str, dict[int, Path]] = {"train": {}, "test": {}}
    counts: dict[str, set[int]] = {"train": set(), "test": set()}
    for path in sorted(folder.glob("*.parquet")):
        match = _SHARD.fullmatch(path.name)
        if match:
            found[match[1]][int(match[2])] = path
            counts[match[1]].add(int(match[3]))
    if not any(counts.values()):
        return {}
    for split, shards in found.items():
        if len(counts[split]) != 1:
            said = " and ".join(f"'of-{count:05d}'" for count in sorted(counts[split])) or "none"
            raise LayerlinkError(
                f"{folder}: expected the {split} shards of one cutting, {split}-00000-of-0000N.parquet; "
                f"got {said}. Keep the files of one download together, and no others."
            )
        (count,) = counts[split]
        missing = [f"{split}-{n:05d}-of-{count:05d}.parquet" for n in range(min(count, 1000)) if n not in shards]
        if missing or len(shards) != count:
            raise LayerlinkError(
                f"{folder}: expected {count} {split} shards; got {len(shards)}. "
                f"Missing: {', '.join(missing[:5])}. Get the missing files."
            )
    return {split: [shards[n] for n in sorted(shards)] for split, shards in found.items()}


class Split(NamedTuple):
    """A split, or one shard of it: images (N, 3, size, size), labels (N,), class names where the files tell them, and
    why images were left out."""

    images: Pixels
    labels: NDArray[np.int64]
    names: tuple[str, ...] | None
    bad: tuple[str, ...]


def read_shards(shards: Sequence[Path], label_column: str, classes: int, size: int, *, skip_bad: bool = False) -> Split:
    """One split, decoded.

    Args:
        shards: its files, in order.
        label_column: the column of labels.
        classes: how many there are; every label must be one of 0 .. classes - 1.
        size: height and width that every image must have.
        skip_bad: leave images out that do not decode.

    Raises:
        LayerlinkError: where a file is damaged or laid out otherwise, or an image does not decode or is not
            RGB of that size; the message names the file and the row, counted from 0 within the file.
    """
    parts = [_read_shard(shard, label_column, classes, size, skip_bad) for shard in shards]
    names = {part.names for part in parts}
    if len(names) != 1:
        raise LayerlinkError(
            f"{shards[0].parent}: expected the same class names in every shard; got {len(names)} different lists. "
            f"Keep the files of one download together."
        )
    return Split(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        names.pop(),
        tuple(reason for part in parts for reason in part.bad),
    )


def _read_shard(shard: Path, label_column: str, classes: int, size: int, skip_bad: bool) -> Split:
    parquet = need("pyarrow.parquet", "images", f"{shard}: reading Parquet")
    compute = need("pyarrow.compute", "images", f"{shard}: reading Parquet")
    try:
        with parquet.ParquetFile(regular(shard), page_checksum_verification=True) as file:
            _check_columns(shard, file.schema_arrow, label_column)
            _check_size(shard, file.metadata)
            table = _read_within(shard, file, ["img", label_column])
            metadata = file.schema_arrow.metadata or {}
        encoded = compute.struct_field(table.column("img"), "bytes").to_pylist()
        labels = table.column(label_column).to_numpy()
    except LayerlinkError:
        raise
    except Exception as error:  # Arrow meets damage with its own errors and with those of Python alike
        raise LayerlinkError(
            f"{shard}: expected a whole Parquet file; it cannot be read ({type(error).__name__}: {error}). "
            f"The file is damaged or cut short: get it again."
        ) from error
    if labels.dtype.kind not in "iu":  # a column with gaps comes as float
        raise LayerlinkError(f"{shard}: expected a label in every row of {label_column!r}; some are missing.")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise LayerlinkError(
            f"{shard}, row {wrong[0]}: expected a label of 0..{classes - 1} in {label_column!r}; "
            f"got {labels[wrong[0]]}. Is this another data set?"
        )
    decoded = decode_all(
        len(encoded), size, lambda row: _decode(encoded[row], f"{shard}, row {row}", size), skip_bad=skip_bad
    )
    labels = labels.astype(np.int64)[decoded.kept]
    return Split(decoded.pixels, labels, class_names(metadata, label_column), decoded.bad)


def _read_within(shard: Path, file: Any, columns: list[str]) -> Any:
    """The columns, row by row as far as the limit goes: a dictionary may say a large value many times."""
    arrow = need("pyarrow", "images", f"{shard}: reading Parquet")
    parts, size = [], 0
    for part in file.iter_batches(batch_size=64, columns=columns):
        parts.append(part)
        size += part.nbytes
        if size > MOST_BYTES:
            raise LayerlinkError(
                f"{shard}: unpacks to more than the {MOST_BYTES:,} bytes that are read. Is this another data set?"
            )
    return arrow.Table.from_batches(parts, schema=parts[0].schema if parts else None)


def _check_size(shard: Path, metadata: Any) -> None:
    """Raise ``LayerlinkError`` where a shard says that it unpacks to more than any of these data sets has."""
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    size = sum(group.column(place).total_uncompressed_size for group in groups for place in range(group.num_columns))
    if size > MOST_BYTES:
        raise LayerlinkError(
            f"{shard}: would unpack to {size:,} bytes; at most {MOST_BYTES:,} are read. Is this another data set?"
        )


def _check_columns(shard: Path, schema: Any, label_column: str) -> None:
    types = need("pyarrow.types", "images", f"{shard}: reading Parquet")
    missing = [name for name in ("img", label_column) if name not in schema.names]
    if missing:
        raise LayerlinkError(
            f"{shard}: expected the columns 'img' and {label_column!r}; got {', '.join(schema.names)}. "
            f"Is this another data set?"
        )
    image, label = schema.field("img").type, schema.field(label_column).type
    fields = [field.name for field in image] if types.is_struct(image) else []
    if "bytes" not in fields or not types.is_integer(label):
        raise LayerlinkError(
            f"{shard}: expected 'img' as struct{{bytes, path}} and {label_column!r} as whole numbers; "
            f"got {image} and {label}. Is this another data set?"
        )


def _decode(data: object, where: str, size: int) -> Pixels:
    if not isinstance(data, bytes):
        raise BadImageError(
            f"{where}: expected the bytes of an image; got none. Get the file again, or leave such images out with "
            "skip_bad."
        )
    with opened(data, where) as image:
        if image.size != (size, size) or image.mode != "RGB":
            raise LayerlinkError(
                f"{where}: expected a {size}x{size} RGB image; got {image.width}x{image.height} {image.mode}. "
                f"Is this another data set? A folder of class folders (source 'folder') may hold any images."
            )
        return np.asarray(image, dtype=np.uint8)


def class_names(metadata: dict[bytes, bytes], label_column: str) -> tuple[str, ...] | None:
    """The names of the classes of a column, where the metadata of the file tells them as those of the hub do."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label_column]["names"]
        return tuple(str(name) for name in names)
    except (KeyError, TypeError, ValueError):
        return None
