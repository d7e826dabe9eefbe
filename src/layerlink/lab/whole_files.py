"""Files that are written whole or not at all, and read whole or not at all."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from layerlink.errors import LayerlinkError


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

    Raises:
        LayerlinkError: where the disk is full or the folder cannot be written; ``path`` is as it was then.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise LayerlinkError(
            f"cannot write {path}: {error}. What was there before is unchanged; free space or choose another "
            "folder, then go on with --resume"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
