"""A folder that appears whole or not at all, whoever else writes beside it or dies while writing."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

PREFIX, SUFFIX = ".layerlink-store-", ".part"


class UnfinishedFolder:
    """A temporary folder beside the place that it is for. What dead processes left there is removed first.

    Args:
        place: where the folder is to be at the end.

    Raises:
        OSError: where it cannot be made.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        place.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time: else one would take another's folder for a dead one's before it is locked.
        with _locked(place.parent):
            _remove_left_behind(place.parent)
            self.path = Path(tempfile.mkdtemp(SUFFIX, PREFIX, place.parent))
            self._lock = _lock(self.path)

    def move_to_its_place(self) -> None:
        """Make the folder appear, on the disk too. Where another one is there by now, that one stays.

        Raises:
            OSError: where it cannot be moved.
        """
        self.path.chmod(0o755)
        _flush(self.path)
        try:
            self.path.rename(self.place)
        except OSError:
            if not self.place.is_dir():
                raise
        _flush(self.place.parent)

    def remove(self) -> None:
        """Remove what is still at the temporary place."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _remove_left_behind(parent: Path) -> None:
    """Remove the unfinished folders of processes that are gone: the operating system has lifted their locks."""
    if fcntl is None:  # not on Windows
        return
    for folder in parent.glob(f"{PREFIX}*{SUFFIX}"):
        with contextlib.suppress(OSError):  # a living process holds it
            lock = _lock(folder)
            shutil.rmtree(folder, ignore_errors=True)
            if lock is not None:
                os.close(lock)


def _lock(folder: Path) -> int | None:
    """Hold ``folder`` until the handle is closed.

    Raises:
        OSError: where another process holds it.
    """
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold ``folder``, waiting for others."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _flush(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
