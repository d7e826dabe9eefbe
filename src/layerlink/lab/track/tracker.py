"""What every tracker is given, and what it does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from layerlink.lab.recipe.track import TrackerSection

PROJECT = "layerlink"  # where the recipe names none


@dataclass(frozen=True)
class TrackedRun:
    """A run that a tracker is told of.

    Args:
        folder: the run's.
        id: its own letters, the same when the run goes on.
        known: what ``Tracker.known`` gave when the run was begun; empty where this is its beginning.
        recipe: resolved, as plain values.
        text: the same as YAML.
        section: what the recipe says of this tracker.
        epoch: that it begins or goes on with, from 0.
    """

    folder: Path
    id: str
    known: str
    recipe: Mapping[str, Any]
    text: str
    section: TrackerSection
    epoch: int

    @property
    def name(self) -> str:
        """For people: that of its folder, of a sweep's run with that of the sweep."""
        folder = self.folder.resolve()
        return f"{folder.parent.name}/{folder.name}" if (folder.parent / "sweep.json").exists() else folder.name

    @property
    def project(self) -> str:
        """What groups runs."""
        return self.section.project or PROJECT

    def place(self, default: str) -> Path:
        """Where the tracker keeps its files: where the recipe says, else inside the run's folder."""
        return self.section.root or self.folder / default


class Tracker(Protocol):
    """Is told of one run."""

    @property
    def known(self) -> str:
        """What is needed to go on with the run later."""

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """The numbers of an epoch, from 1, by name."""

    def done(self, values: Mapping[str, float], epochs: int) -> None:
        """The run is finished: its test readings."""

    def close(self, state: str) -> None:
        """Nothing more comes: "finished", "failed" or "stopped"."""


def flat(recipe: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """The fields of a recipe by dotted name, as text; what is empty is left out.

    >>> flat({"training": {"lr": 0.1}, "links": ["a : mse"], "soft": None})
    {'training.lr': '0.1', 'links.0': 'a : mse'}
    """
    found: dict[str, str] = {}
    for key, value in recipe.items():
        inner = {str(place): item for place, item in enumerate(value)} if isinstance(value, list) else value
        if isinstance(inner, Mapping):
            found |= flat(inner, f"{before}{key}.")
        elif value is not None:
            found[f"{before}{key}"] = str(value)
    return found


def safe_names(names: Mapping[str, float]) -> dict[str, float]:
    """The same values by names of letters, digits and ``_-./: `` alone, each another one, as MLflow wants them.

    >>> safe_names({"a -> b : mse * 2": 1.0, "a => b : mse * 2": 2.0})
    {'a -_ b : mse _ 2': 1.0, 'a __ b : mse _ 2': 2.0}
    """
    found: dict[str, float] = {}
    for name, value in names.items():
        safe, count = re.sub(r"[^\w\-./: ]", "_", name, flags=re.ASCII), 1
        while (unique := safe if count == 1 else f"{safe} {count}") in found:
            count += 1
        found[unique] = value
    return found
