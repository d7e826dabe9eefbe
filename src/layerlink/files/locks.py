"""Who works where: folders that one process holds at a time, and marks that end with their process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # on Windows no process leaves a mark, and nothing is taken for left behind
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"  # the file that is locked for a folder; it counts as nothing in it


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
        OSError: where it cannot be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise HeldError(f"{folder} is held by another process") from None
    try:
        yield
    finally:
        lock.release()


# Marks are on what is being written itself: a library locks by the name of a file of its own, which every temporary
# file would then have beside it.


def mark(handle: int) -> bool:
    """Mark an open file or folder as this process's until it is closed; False where another process's mark is on it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without marks
        return True
    return True


def left_behind(path: Path) -> bool:
    """Whether the process that marked ``path``, a file or folder, is gone; False where that cannot be known."""
    if fcntl is None:
        return False
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
