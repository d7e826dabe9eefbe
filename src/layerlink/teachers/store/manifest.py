"""A store's manifest: what its files are, checked before anything is read by it."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.inside import read_bytes, read_text
from layerlink.files.own import is_own, mark_of

StoreDtype = Literal["float32", "bfloat16", "uint8", "int32"]
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "uint8": torch.uint8,
    "int32": torch.int32,  # of what is packed, see ``layerlink.teachers.topk``
}
FORMAT = 1
"""Raise it whenever the files are laid out otherwise."""

MOST_STEPS = 2**32  # bytes of the steps that uint8 values count
VALUES, STEPS, MANIFEST = "values.bin", "steps.bin", "store.json"
_FIELDS = ("format", "key", "rows", "shape", "dtype", "channels_last", "chunk_ends", "error")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in ``folder``.

    Raises:
        LayerlinkError: where it is missing or damaged.
    """
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(read_text(path, folder))
        missing = [name for name in _FIELDS if name not in manifest]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise damaged(path, f"is missing or damaged ({error})") from error
    if not isinstance(manifest, dict):
        raise damaged(path, f"is damaged: it must hold fields; got {type(manifest).__name__}")
    if missing:
        raise damaged(path, f"is damaged: {', '.join(missing)} missing")
    if manifest["format"] != FORMAT:
        raise damaged(path, f"has format {manifest['format']}; this version of layerlink reads format {FORMAT}")
    _check_entries(path, manifest)
    return manifest


def _check_entries(path: Path, manifest: dict[str, Any]) -> None:
    """What the values' meaning hangs on: a number that is wrong here would give wrong numbers without a word."""
    unknown = [name for name in manifest if name not in (*_FIELDS, "checksum", "mark")]
    if unknown:
        raise damaged(path, f"is damaged: unknown entry {unknown[0]!r}")
    rows, shape, ends = manifest["rows"], manifest["shape"], manifest["chunk_ends"]
    for name, fits in {
        "key": isinstance(manifest["key"], dict),
        "rows": _is_count(rows),
        "shape": isinstance(shape, list) and all(map(_is_count, shape)),
        "dtype": isinstance(manifest["dtype"], str) and manifest["dtype"] in DTYPES,
        "channels_last": isinstance(manifest["channels_last"], bool),
        "chunk_ends": isinstance(ends, list)
        and all(map(_is_count, ends))
        and ends == sorted(ends)
        and [0, *ends][-1] == rows,
        "error": isinstance(manifest["error"], int | float) and math.isfinite(manifest["error"]),
    }.items():
        if not fits:
            raise damaged(path, f"is damaged: {name} cannot be {str(manifest[name])[:60]!r}")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def with_checksum(manifest: dict[str, Any], steps: Path) -> dict[str, Any]:
    """The manifest as it is written: with a checksum of what it says and of the steps that uint8 values count."""
    plain = json.loads(json.dumps(manifest))
    return {**plain, "checksum": _checksum(plain, steps)}


def with_mark(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with this user's mark, where there is a key."""
    mark = mark_of(_marked(manifest), "store")
    return manifest if mark is None else {**manifest, "mark": mark}


def check_own(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise ``LayerlinkError`` where somebody else wrote a store, or may have changed it since."""
    files = [folder / name for name in (VALUES, STEPS, MANIFEST)]
    if is_own(manifest.get("mark"), _marked(manifest), "store") and all(map(_is_mine_alone, files)):
        return
    raise LayerlinkError(
        f"{folder} was not stored by you, so it is not read: anybody could have put it there. Delete the folder, or "
        "set teacher.store.root to one of your own"
    )


def _is_mine_alone(file: Path) -> bool:
    facts = file.stat()
    return os.name == "nt" or (facts.st_uid == os.getuid() and not facts.st_mode & 0o022)


def _marked(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps({name: it for name, it in manifest.items() if name != "mark"}, sort_keys=True).encode()


def check_checksum(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise ``LayerlinkError`` where manifest or steps are others than were written. Older stores have no checksum."""
    said = manifest.get("checksum")
    rest = {name: value for name, value in manifest.items() if name not in ("checksum", "mark")}
    if said is not None and said != _checksum(rest, folder / STEPS):
        raise damaged(folder / MANIFEST, f"or {STEPS} is damaged: the checksum is wrong")


def _checksum(manifest: Mapping[str, Any], steps: Path) -> str:
    try:
        start = zlib.crc32(read_bytes(steps, steps.parent, MOST_STEPS))
    except OSError as error:
        raise damaged(steps, f"cannot be read ({error})") from error
    return f"{zlib.crc32(json.dumps(manifest, sort_keys=True).encode(), start):08x}"


def check_key(folder: Path, there: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise ``UsageError`` where a store is of something else, with all that differs."""
    names = [name for name in {**expected, **there} if expected.get(name) != there.get(name)]
    if names:
        lines = "\n".join(f"  {name}: expected {expected.get(name)!r}; got {there.get(name)!r}" for name in names)
        raise UsageError(f"{folder} is a store of something else:\n{lines}\nDelete the folder, or name another")


def damaged(path: Path, what: str) -> LayerlinkError:
    """The error that tells what is wrong with a store's file, and what to do."""
    return LayerlinkError(f"{path} {what}. The store is of no use: delete the folder {path.parent} and fill it again")


def table_shape(rows: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which a value per row and channel meets rows of ``shape``."""
    return (rows, *shape[:1], *(1 for _ in shape[1:]))


def bytes_of_store(rows: int, shape: tuple[int, ...], dtype: StoreDtype, chunks: int = 1) -> int:
    """What a store will take on disk, up to its manifest's few kilobytes.

    Args:
        rows: how many.
        shape: of one row.
        dtype: how values are kept.
        chunks: in how many calls of ``StoreWriter.add`` they come.
    """
    steps = 8 * chunks * (shape[0] if shape else 1) if dtype == "uint8" else 0
    return rows * math.prod(shape) * DTYPES[dtype].itemsize + steps
