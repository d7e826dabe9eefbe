"""Files that are written whole or not at all, and read whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from layerlink.errors import LayerlinkError
from layerlink.files.inside import PlaceError, inside
from layerlink.files.locks import left_behind, mark

PART = ".part"  # ends the names of temporary files
MOST_TIMES = 4  # that a file of tensors may grow when it is unpacked
_SURELY_MARKED = 10  # seconds after which a temporary file is marked by its process, if that lives


def load_tensors(path: Path) -> Any:
    """What ``torch.save`` wrote, where that is tensors and plain values; no code in the file is run.

    Raises:
        ValueError: where a checksum in the file is another than that of its bytes; torch itself looks at none.
        PlaceError: where it would unpack to more than ``MOST_TIMES`` its size: torch packs nothing.
        Exception: whatever else torch raises.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            unpacked, packed = sum(entry.file_size for entry in file.infolist()), path.stat().st_size
            if unpacked > MOST_TIMES * packed:
                raise PlaceError(f"{path} would unpack from {packed:,} to {unpacked:,} bytes: it is not read")
            wrong = file.testzip()
        if wrong is not None:
            raise ValueError(f"the checksum of {wrong!r} in it is wrong")
    return torch.load(path, map_location="cpu", weights_only=True)


def write_whole(path: Path, write: Callable[[Path], Any], within: Path | None = None) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then move it there in one step.

    A link that is there already is replaced, not followed. Temporary files for ``path`` that killed processes left are
    removed.

    Args:
        path: to write.
        write: is given the temporary file.
        within: a folder that a folder below it, which is a link, must not lead out of.

    Raises:
        LayerlinkError: where the disk is full or the folder cannot be written; ``path`` is as it was then.
        PlaceError: where it would lie outside of ``within``.
    """
    if within is not None:
        inside(path.parent, within)
    temporary: Path | None = None
    handle: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_behind(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
        temporary = Path(name)
        mark(handle)
        write(temporary)
        with temporary.open("rb") as file:  # which ``write`` may have made anew
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        if os.name == "nt":  # Windows moves no open file
            os.close(handle)
            handle = None
        temporary.replace(path)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise LayerlinkError(
            f"cannot write {path}: {error}. What was there before is unchanged; free space or choose another "
            "folder, then give the same command again (run: with --resume)"
        ) from error
    finally:
        if handle is not None:
            os.close(handle)
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        LayerlinkError: as ``write_whole``.
    """
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def _remove_left_behind(path: Path) -> None:
    """Remove the temporary files of processes that are gone: the operating system has lifted their marks."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{PART}"):
        with contextlib.suppress(OSError):  # another process removed it
            if time.time() - left.stat().st_mtime > _SURELY_MARKED and left_behind(left):
                left.unlink()
