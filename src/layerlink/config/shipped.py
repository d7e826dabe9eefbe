"""Files by path, or by the name under which they come with layerlink."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from layerlink.errors import UsageError, closest, unknown_name

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MOST_BYTES = 1_000_000  # of a file
VERBS = {"recipe": "run", "sweep": "sweep", "search": "search"}  # what each kind of file is given to
FIELDS = {"recipe": ("student",), "sweep": ("rows", "axes", "baselines"), "search": ("space",)}  # of no other kind


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
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read {source}: it is no text in UTF-8 ({error.reason}). Save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror or error}") from None
    raise UsageError(_why_none(source, path, kind, known))


def meant_kind(keys: Iterable[object], kind: str, source: str) -> str:
    """What is to be said of a file that is of another kind by its fields; empty where it is not."""
    found = {other for other, fields in FIELDS.items() if any(field in fields for field in keys)}
    if len(found) != 1 or kind not in VERBS or kind in found:
        return ""
    (other,) = found
    return f"is a {other} by its fields, and no {kind}: layerlink {VERBS[other]} {shlex.quote(source)}"


def _why_none(source: str, path: Path, kind: str, known: Iterable[str]) -> str:
    """Why nothing could be read, and what is nearest."""
    if os.path.isdir(path):
        inside = path / f"{kind}.yaml"
        such = f", such as {inside}" if inside.is_file() else ""
        return f"{source} is a folder; a {kind} is a YAML file{such}"
    if os.path.islink(path) and not os.path.exists(path):
        return f"{source} is a link to {os.readlink(path)}, and there is no such file"
    if os.path.exists(path):
        return f"{source} is no regular file; a {kind} is a YAML file"
    for other in (it for it in VERBS if it != kind and source in shipped(it)):
        return f"{source} is a {other}, and no {kind}: layerlink {VERBS[other]} {source}"
    beside = path.parent if os.path.isdir(path.parent) else Path()
    files = [str(file) for file in beside.glob("*.y*ml") if file.is_file()]
    if path.suffix in (".yaml", ".yml") and not closest(source, [*known, *files]):
        where = "" if os.path.isdir(path.parent) else f", nor a folder {path.parent}"
        return f"there is no file {source}{where}. What comes with layerlink is named without .yaml: layerlink ls"
    return f"{unknown_name(kind, source, [*known, *files])} (layerlink ls shows them; or give a file)"
