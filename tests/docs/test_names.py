"""What pages name is there: files in docs/architecture.md, public names in docs/api.md."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import layerlink

DOCS = Path(__file__).parents[2] / "docs"
SOURCE = DOCS.parent / "src" / "layerlink"
_FILE = re.compile(r"(?<![\w./\[-])[\w/]+(?:\.py\b|/)(?![\w*])")


def files_named(text: str) -> Iterator[tuple[str, list[Path]]]:
    """Every file and folder that a page names, and where it may be: after another one, in the same folder."""
    for line in text.splitlines():
        beside = SOURCE
        for name in _FILE.findall(line):
            places = [SOURCE / name, DOCS.parent / name, beside / name]
            yield name, places
            there = next((place for place in places if place.exists()), None)
            if there is not None:
                beside = there if there.is_dir() else there.parent


def missing(text: str) -> list[str]:
    return [name for name, places in files_named(text) if not any(place.exists() for place in places)]


def test_every_file_that_the_architecture_names_is_there() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rooms, rest = page.split("## The data's way")
    assert len(list(files_named(rest))) > 150
    assert missing(rest) == []
    for path in SOURCE.iterdir():
        if not path.name.startswith("_") and path.suffix in ("", ".py"):
            assert f"{path.name}{'/' if path.is_dir() else ''} " in rooms, path


def test_a_file_that_is_not_there_is_seen() -> None:
    assert missing("| a | `lab/run/learning/faults.py`, `no_such.py`; `lab/replay/` |") == ["no_such.py"]


def test_every_public_name_has_its_place_on_the_page_of_names() -> None:
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    shown, said = (re.findall(pattern, page, re.M) for pattern in (r"^::: (layerlink[\w.]+)$", r"`layerlink\.(\w+)`"))
    assert set(layerlink.__all__) - {"__version__"} <= {path.rpartition(".")[2] for path in shown} | set(said)
    for path in shown:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path
