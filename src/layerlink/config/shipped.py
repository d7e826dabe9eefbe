"""Files by path, or by the name under which they come with layerlink."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from layerlink.errors import UsageError, closest, unknown_name

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MOST_BYTES = 1_000_000  # of a file


def shipped(kind: str) -> dict[str, Traversable]:
    """The files of a kind ("recipe", "sweep", "search") that come with layerlink, by name."""
    folder = resources.files("layerlink.lab") / kind / "shipped"
    return {
        f"{group.name}/{file.name.removesuffix('.yaml')}": file
        for group in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if group.is_dir()
        for file in sorted(group.iterdir(), key=lambda entry: entry.name)
        if file.name.endswith(".yaml")
    }


def read_source(source: str, kind: str) -> tuple[str, str]:
    """Text and name of a file, or of what is shipped under that name.

    Raises:
        UsageError: where there is neither.
    """
    path = Path(source)
    known = shipped(kind)
    try:
        if os.path.isfile(path):
            if path.stat().st_size > MOST_BYTES:
                size = path.stat().st_size
                raise UsageError(f"{source} has {size:,} bytes; a {kind} has at most {MOST_BYTES:,}")
            return path.read_text(encoding="utf-8"), path.stem
        if source in known:
            return known[source].read_text(encoding="utf-8"), source.rpartition("/")[2]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {source}: {error}") from None
    if os.path.isdir(path):
        raise UsageError(f"{source} is a folder; a {kind} is a YAML file")
    is_file = path.suffix in (".yaml", ".yml")
    beside = path.parent if is_file and os.path.isdir(path.parent) else Path()
    files = [str(file) for file in beside.glob("*.y*ml")]
    if is_file and not closest(source, [*known, *files]):
        where = "" if os.path.isdir(path.parent) else f", nor a folder {path.parent}"
        raise UsageError(
            f"there is no file {source}{where}. What comes with layerlink is named without .yaml: layerlink ls"
        )
    raise UsageError(f"{unknown_name(kind, source, [*known, *files])} (layerlink ls shows them; or give a file)")
