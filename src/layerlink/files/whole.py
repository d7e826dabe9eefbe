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

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_SURELY_LOCKED = 10  # seconds after which a temporary file is locked by its process, if that lives


def load_tensors(path: Path) -> Any:
    """What ``torch.save`` wrote, where that is tensors and plain values; no code in the file is run.

    Raises:
        ValueError: where a checksum in the file is another than that of its bytes; torch itself looks at none.
        Exception: whatever else torch raises.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            wrong = file.testzip()
        if wrong is not None:
            raise ValueError(f"the checksum of {wrong!r} in it is wrong")
    return torch.load(path, map_location="cpu", weights_only=True)


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then move it there in one step.

    Temporary files for ``path`` that killed processes left are removed.

    Raises:
        LayerlinkError: where the disk is full or the folder cannot be written; ``path`` is as it was then.
    """
    temporary: Path | None = None
    handle: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_behind(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write(temporary)
        with temporary.open("rb") as file:  # which ``write`` may have made anew
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        if fcntl is None:  # Windows moves no open file
            os.close(handle)
            handle = None
        temporary.replace(path)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise LayerlinkError(
            f"cannot write {path}: {error}. What was there before is unchanged; free space or choose another "
            "folder, then go on with --resume"
        ) from error
    finally:
        if handle is not None:
            os.close(handle)
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _remove_left_behind(path: Path) -> None:
    """Remove the temporary files of processes that are gone: the operating system has lifted their locks."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError):  # a living process holds it, or another one removed it
            if fcntl is None or time.time() - left.stat().st_mtime < _SURELY_LOCKED:
                continue
            with left.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
