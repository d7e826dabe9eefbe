"""Folders that one process trains in at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from layerlink.errors import UsageError
from layerlink.files.locks import HeldError, held


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other processes out of it meanwhile.

    Raises:
        UsageError: where another process holds it, or it cannot be made.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(folder))
        except HeldError:
            raise UsageError(
                f"another process is training in {folder}. Wait for it, or choose another folder: --out FOLDER"
            ) from None
        except OSError as error:
            raise UsageError(f"cannot make the run's folder: {error}. Choose another: --out FOLDER") from error
        yield
