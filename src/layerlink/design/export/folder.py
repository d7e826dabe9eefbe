"""Where exported files go: they appear when all of them are right, and nothing of the user's is replaced."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlink.design.written import Written, file_checksum
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.own import is_own, mark_of
from layerlink.files.whole import write_text
from layerlink.files.whole_folder import UnfinishedFolder

_PART = 1 << 20
_PURPOSE = "export"  # of a mark


@dataclass(frozen=True)
class ExportFolder:
    """Names and writes the files.

    Args:
        path: the folder; made when everything is ready.
    """

    path: Path

    @property
    def data(self) -> Path:
        """What was written and how it compares, JSON."""
        return self.path / "export.json"

    def check(self, names: Sequence[str]) -> None:
        """Raise ``UsageError`` where a file would be replaced that no export wrote, or that was changed since."""
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file, and an export needs a folder. Choose another: --out FOLDER")
        self._written.check(*(self.path / name for name in names))

    @contextmanager
    def unfinished(self) -> Iterator[Path]:
        """A folder to write in beforehand, which is gone afterwards whatever happens.

        Raises:
            LayerlinkError: where it cannot be made.
        """
        new = [it for it in (self.path.parent, *self.path.parent.parents) if not it.exists()]
        try:
            part = UnfinishedFolder(self.path)
        except OSError as error:
            raise LayerlinkError(f"cannot write {self.path}: {error}. Choose another folder: --out FOLDER") from error
        try:
            yield part.path
        finally:
            part.remove()
            for folder in new:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    def publish(self, part: Path, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
        """Move the files of ``unfinished`` to their place, and note what they are.

        Args:
            part: the folder that holds them.
            rows: what is known of each, with its name as ``file``.
            about: what holds for all of them.

        Raises:
            UsageError: where a file is in the way that no export wrote, or that was changed since.
            LayerlinkError: where the folder cannot be written.
        """
        files = sorted(part.iterdir())
        self.check([it.name for it in files])
        known = self.read_data()
        written = {**self._written.checksums(), **{it.name: file_checksum(it) for it in files}}
        earlier = [row for row in known.get("files", []) if isinstance(row, dict)]
        kept = [row for row in earlier if row.get("file") not in {new["file"] for new in rows}]
        marks = {it.name: mark_of(_digest(it), _PURPOSE) for it in files}
        marks = {**(known["marks"] if isinstance(known.get("marks"), dict) else {}), **marks}
        text = json.dumps({**about, "files": [*kept, *rows], "written": written, "marks": marks}, indent=1) + "\n"
        try:
            self.path.mkdir(exist_ok=True)
            for file in files:
                os.replace(file, self.path / file.name)
        except OSError as error:
            raise LayerlinkError(f"cannot write {self.path}: {error}. Choose another folder: --out FOLDER") from error
        write_text(self.data, text)

    def read_data(self) -> dict[str, Any]:
        """What the JSON holds; nothing where it is missing or no JSON."""
        return self._written.read()

    @property
    def _written(self) -> Written:
        return Written(self.data, "export")


def is_own_file(path: Path) -> bool:
    """Whether this user exported just this file."""
    marks = ExportFolder(path.parent).read_data().get("marks")
    return isinstance(marks, dict) and is_own(marks.get(path.name), _digest(path), _PURPOSE)


def _digest(path: Path) -> bytes:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_PART):
            found.update(part)
    return found.digest()
