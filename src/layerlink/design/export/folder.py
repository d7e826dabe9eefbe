"""Where exported files go: they appear when all of them are right, and nothing of the user's is replaced."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.inside import read_text
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
        written = self._written()
        for path in (self.path / name for name in names):
            if not path.exists() and not path.is_symlink():
                continue
            if path.name not in written:
                raise UsageError(f"{path} is there and no export wrote it. Choose another folder: --out FOLDER")
            if not path.is_file() or written[path.name] != checksum(path):
                raise UsageError(
                    f"{path} was changed since it was exported and would be lost. Move it, or choose "
                    "another folder: --out FOLDER"
                )

    @contextmanager
    def unfinished(self) -> Iterator[Path]:
        """A folder to write in beforehand, which is gone afterwards whatever happens."""
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
        """
        files = sorted(part.iterdir())
        self.check([it.name for it in files])
        known = self.read_data()
        written = {**self._written(), **{it.name: checksum(it) for it in files}}
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
        try:
            data = json.loads(read_text(self.data, self.path))
        except (OSError, ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    def _written(self) -> dict[str, int]:
        written = self.read_data().get("written", {})
        return written if isinstance(written, dict) else {}


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


def checksum(path: Path) -> int:
    """A CRC-32 of a file's bytes."""
    crc = 0
    with path.open("rb") as file:
        while part := file.read(_PART):
            crc = zlib.crc32(part, crc)
    return crc
