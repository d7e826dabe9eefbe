"""What a verb wrote into a folder, noted in a JSON file there, so that nothing of the user's is replaced."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlink.errors import UsageError
from layerlink.files.inside import read_text

_PART = 1 << 20


@dataclass(frozen=True)
class Written:
    """The files of one folder that a verb wrote.

    Args:
        data: the JSON file that holds their checksums, by name, as ``written``.
        verb: that writes them.
    """

    data: Path
    verb: str

    def read(self) -> dict[str, Any]:
        """What the JSON holds; nothing where it is missing or no JSON."""
        try:
            data = json.loads(read_text(self.data, self.data.parent))
        except (OSError, ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    def checksums(self) -> dict[str, int]:
        """Of the files that were written, by name."""
        written = self.read().get("written", {})
        return written if isinstance(written, dict) else {}

    def check(self, *paths: Path) -> None:
        """Raise ``UsageError`` where a file would be replaced that was changed, or that the verb did not write; or
        where the folder is a file, or would lie in one.
        """
        folder = self.data.parent
        place = next(it for it in (folder, *folder.parents) if it.exists())
        if not place.is_dir():
            raise UsageError(f"{place} is a file, and {self.verb} needs a folder. Choose another: --out FOLDER")
        known = self.checksums()
        for path in paths:
            if not path.exists() and not path.is_symlink():
                continue
            if path.name not in known:
                raise UsageError(
                    f"{path} is there and {self.verb} did not write it. Choose another folder: --out FOLDER"
                )
            if not path.is_file() or known[path.name] != file_checksum(path):
                raise UsageError(
                    f"{path} was changed since {self.verb} wrote it and would be lost. Move it, or choose another "
                    "folder: --out FOLDER"
                )


def checksum(content: str | bytes) -> int:
    """A CRC-32 of a text, as UTF-8, or of bytes."""
    return zlib.crc32(content.encode() if isinstance(content, str) else content)


def file_checksum(path: Path) -> int:
    """A CRC-32 of a file's bytes."""
    crc = 0
    with path.open("rb") as file:
        while part := file.read(_PART):
            crc = zlib.crc32(part, crc)
    return crc
