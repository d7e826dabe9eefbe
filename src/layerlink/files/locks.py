"""Who works where: folders that one process holds at a time, and marks that end with their process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows nothing is held or marked, and nothing is taken for left behind
    fcntl = None  # type: ignore[assignment]

# Not by a library: those lock by the name of a file of their own and leave it behind, in every run's folder and every
# store, and beside every temporary file. Here the folder or file itself is locked, and nothing stays.


class HeldError(OSError):
    """Another process holds the folder."""


@contextmanager
def held(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold ``folder``, which exists. The operating system lifts the lock of a process that dies.

    Args:
        folder: to hold.
        wait: until it is free.

    Raises:
        HeldError: where another process holds it, and ``wait`` is off.
        OSError: where it cannot be opened or locked.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HeldError(f"{folder} is held by another process") from None
        yield
    finally:
        with suppress(OSError):  # closing is not enough: processes that were forked meanwhile have it open, too
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def mark(handle: int) -> None:
    """Mark an open file or folder as this process's until it is closed; where the file system has no locks, do nothing.

    Unlike ``held`` it is not asked for: it only tells others that the writer lives, see ``left_behind``.
    """
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def left_behind(path: Path) -> bool:
    """Whether the process that marked ``path``, a file or folder, is gone; False where that cannot be known."""
    if fcntl is None:
        return False
    try:  # a pipe of that name is not waited for
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
