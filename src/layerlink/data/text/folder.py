"""A folder of tables: which files it holds, what they are used as, and what is read of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layerlink.data.cache import cached
from layerlink.data.images import Source
from layerlink.data.text.parts import ACCEPTED, Parts, find_tables, is_saved_dataset
from layerlink.data.text.saved import read_saved
from layerlink.data.text.tables import Table, Wanted, read_table
from layerlink.data.text.textset import TextSet
from layerlink.errors import UsageError
from layerlink.files.paths import expanded


@dataclass(frozen=True)
class Folder:
    """A folder that is there.

    Args:
        root: where.
        parts: its tables; None where Hugging Face's ``datasets`` saved it.
    """

    root: Path
    parts: Parts | None

    @classmethod
    def at(cls, root: Path | None) -> Folder:
        """The folder at ``root``.

        Raises:
            UsageError: where there is none, or none with tables.
        """
        if root is None:
            raise UsageError(f"text needs root, a folder. {ACCEPTED}")
        root = expanded(root)
        if not root.is_dir():
            raise UsageError(f"text: root {str(root)!r} is no folder. {ACCEPTED}")
        return cls(root, None if is_saved_dataset(root) else find_tables(root))

    @property
    def files(self) -> list[Path]:
        """All that is read."""
        if self.parts is None:
            return sorted(path for path in self.root.rglob("*") if path.is_file())
        return [path for files in self.parts.files.values() for path in files]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Tables that are not read."""
        ignored = [] if self.parts is None else [path.name for path in self.parts.others]
        return (f"{', '.join(ignored[:5])} {'is' if len(ignored) == 1 else 'are'} not read",) if ignored else ()

    def source(
        self, build: Callable[[], Source], settings: list[Any], kind: type[TextSet], cache: Path | None
    ) -> Source:
        """What ``build`` makes of the tables, from the cache where it is there; tables that are not read are told.

        Args:
            build: reads them.
            settings: what the result follows from beside the files.
            kind: of its parts.
            cache: the cache's folder; None for the default.
        """
        told, files = json.dumps(settings), self.files
        found = cached(build, name="text", root=self.root, files=files, settings=told, cache=cache, kind=kind)
        return replace(found, warnings=(*found.warnings, *self.warnings))

    def read(self, wanted: Wanted) -> dict[str, list[Table]]:
        """Every table, by what it is used as; all missing columns are told at once.

        Raises:
            UsageError: where a column is missing.
            LayerlinkError: where a file cannot be read.
        """
        if self.parts is None:
            return read_saved(self.root, wanted)
        found: dict[str, list[Table]] = {}
        problems = []
        for role, files in self.parts.files.items():
            for path in files:
                try:
                    found.setdefault(role, []).append(read_table(path, wanted))
                except UsageError as error:
                    problems.append(str(error))
        if problems:
            raise UsageError("; ".join(problems))
        return found
