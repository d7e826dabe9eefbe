"""A folder that appears whole or not at all, whoever else writes beside it or dies while writing."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from layerlink.files.locks import held, left_behind, mark

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
        # One process at a time: else one would take another's folder for a dead one's before it is marked.
        with held(place.parent, wait=True):
            _remove_left_behind(place.parent)
            self.path = Path(tempfile.mkdtemp(SUFFIX, PREFIX, place.parent))
            self._mark = _marked(self.path)

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
        if self._mark is not None:
            os.close(self._mark)
            self._mark = None


def _remove_left_behind(parent: Path) -> None:
    """Remove the unfinished folders of processes that are gone: the operating system has lifted their marks."""
    for folder in parent.glob(f"{PREFIX}*{SUFFIX}"):
        if left_behind(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _marked(folder: Path) -> int | None:
    """A handle that marks ``folder`` until it is closed; None where folders cannot be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows
        return None
    mark(handle)
    return handle


def _flush(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
