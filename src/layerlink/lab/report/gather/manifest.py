"""``sweep.json`` as a report reads it: which runs make which row. Everything in it is checked before it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlink.errors import LayerlinkError
from layerlink.files.inside import inside, read_text
from layerlink.lab.report.gather.records import Row, RunRecord, is_number, read_record
from layerlink.lab.run.folder import MOST_JSON
from layerlink.lab.sweep.folder import MANIFEST


@dataclass(frozen=True)
class Manifest:
    """A sweep.

    Args:
        folder: of the sweep.
        title: in a few words.
        question: that it answers; may be empty.
        source: of the published numbers; may be empty.
        command: that made it; may be empty.
        axes: the recipe's fields that were varied.
        rows: with their runs.
        teacher: the teacher's run; None where the sweep names none.
    """

    folder: Path
    title: str
    question: str
    source: str
    command: str
    axes: tuple[str, ...]
    rows: tuple[Row, ...]
    teacher: RunRecord | None


def read_manifest(folder: Path) -> Manifest:
    """The sweep in ``folder``.

    Raises:
        LayerlinkError: where its manifest is damaged; the message names the entry.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(read_text(path, folder, MOST_JSON))
    except (OSError, ValueError, RecursionError) as error:
        raise LayerlinkError(f"{path} cannot be read ({error}). Write it again: repeat the sweep's command") from error
    entries = _Entries(path, content)
    axes = entries.mapping(content, "axes", {})
    teacher = content.get("teacher")
    if teacher is not None and not _is_below(teacher, folder):
        raise entries.wrong("teacher", "a folder inside the sweep's or null", teacher)
    source = entries.text(content, "source", "")
    rows = content.get("rows")
    if not isinstance(rows, list) or not rows:
        raise entries.wrong("rows", "a list of at least one row", rows)
    read = tuple(_row(entries, row, f"rows[{index}]", folder, source) for index, row in enumerate(rows))
    names = [row.name for row in read]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise entries.wrong("rows", "names that differ", twice)
    return Manifest(
        folder=folder,
        title=entries.text(content, "title", "") or entries.text(content, "name", folder.name),
        question=entries.text(content, "question", ""),
        source=source,
        command=entries.text(content, "command", ""),
        axes=tuple(axes),
        rows=read,
        teacher=read_record(folder / teacher) if teacher else None,
    )


def _row(entries: _Entries, row: Any, place: str, folder: Path, source: str) -> Row:
    name = entries.text(row, "name", None, place)
    published = row.get("published")
    if published is not None and not is_number(published):
        raise entries.wrong(f"{place}.published", "a number of percent or null", published)
    if not isinstance(row.get("baseline", False), bool):
        raise entries.wrong(f"{place}.baseline", "true or false", row["baseline"])
    runs = []
    for seed, run in entries.mapping(row, "runs", None, place).items():
        if not re.fullmatch("[0-9]{1,18}", seed):
            raise entries.wrong(f"{place}.runs", "seeds as names", seed)
        if not _is_below(run, folder):
            raise entries.wrong(f"{place}.runs[{seed!r}]", "a folder inside the sweep's", run)
        runs.append(read_record(folder / run, int(seed)))
    return Row(
        name=name,
        changes=entries.mapping(row, "changes", {}, place),
        runs=tuple(runs),
        baseline=row.get("baseline", False),
        published=None if published is None else float(published),
        source=source if published is not None else "",
    )


def _is_below(name: Any, folder: Path) -> bool:
    """Whether it names a folder inside another, links followed."""
    if not isinstance(name, str) or not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        return False
    try:
        inside(folder / name, folder)
    except OSError:
        return False
    return True


class _Entries:
    """Takes entries out of what a JSON file held, and says which is not what it must be."""

    def __init__(self, path: Path, content: Any) -> None:
        self.path = path
        if not isinstance(content, dict):
            raise self.wrong("it", "fields", content)

    def wrong(self, place: str, expected: str, got: Any) -> LayerlinkError:
        shown = repr(got) if len(repr(got)) <= 80 else repr(got)[:77] + "..."
        return LayerlinkError(
            f"{self.path} is damaged: {place} must be {expected}; got {shown}. "
            "Write it again: repeat the sweep's command"
        )

    def text(self, holder: Any, name: str, default: str | None, place: str = "") -> str:
        value = self._of(holder, place).get(name, default)
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise self.wrong(f"{place}.{name}".lstrip("."), "text", value)
        return value

    def mapping(self, holder: Any, name: str, default: Mapping[str, Any] | None, place: str = "") -> dict[str, Any]:
        value = self._of(holder, place).get(name, default)
        if not isinstance(value, dict):
            raise self.wrong(f"{place}.{name}".lstrip("."), "fields", value)
        return value

    def _of(self, holder: Any, place: str) -> dict[str, Any]:
        if not isinstance(holder, dict):
            raise self.wrong(place, "fields", holder)
        return holder
