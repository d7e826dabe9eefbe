"""A proposal's folder: links and a recipe to go on with, everything as JSON, a page; nothing of the user's is lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlink.design.propose.proposal import Proposal
from layerlink.design.written import Written, checksum
from layerlink.files.whole import write_text
from layerlink.lab.recipe.file import dump_recipe
from layerlink.lab.recipe.schema import Recipe


@dataclass(frozen=True)
class ProposalFolder:
    """Names and writes the files.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def page(self) -> Path:
        """The heat map of all pairs, the links and what was left out, HTML."""
        return self.path / "index.html"

    @property
    def data(self) -> Path:
        """Everything as values, JSON."""
        return self.path / "proposal.json"

    @property
    def links(self) -> Path:
        """The links, a YAML file to copy from."""
        return self.path / "links.yaml"

    @property
    def recipe(self) -> Path:
        """The recipe with the links, ready to run."""
        return self.path / "recipe.yaml"

    @property
    def sweep(self) -> Path:
        """The sweep of the probes."""
        return self.path / "probes.yaml"

    @property
    def probes(self) -> Path:
        """The folder of the probes' runs."""
        return self.path / "probes"

    def check(self) -> None:
        """Raise ``UsageError`` where a file would be replaced that was changed, or that is nobody's of here."""
        page = () if self._written.checksums() else (self.page,)  # the page is drawn anew whatever became of it
        self._written.check(self.links, self.recipe, self.sweep, *page)

    def write(self, proposal: Proposal, recipe: Recipe, command: str, sweep: str | None = None) -> None:
        """Write links, recipe and JSON; what an earlier proposal wrote is replaced.

        Args:
            proposal: what was found.
            recipe: that was asked about.
            command: that repeats it.
            sweep: the file of the probes, where there are to be any.
        """
        head = f"# {command}\n"
        linked = recipe.model_copy(update={"links": tuple(proposal.links)})
        texts = {
            self.links.name: head + links_yaml(proposal.links),
            self.recipe.name: head + dump_recipe(linked),
            **({} if sweep is None else {self.sweep.name: head + sweep}),
        }
        written = {**self._written.checksums(), **{name: checksum(text) for name, text in texts.items()}}
        for name, text in texts.items():
            write_text(self.path / name, text)
        self._write_data({**proposal.data(), "command": command, "written": written})

    def add_probes(self, probes: Mapping[str, Any]) -> None:
        """Note in the JSON what short trainings showed."""
        self._write_data({**self.read_data(), "probes": probes})

    def _write_data(self, data: Mapping[str, Any]) -> None:
        write_text(self.data, json.dumps(data, indent=1) + "\n")

    def read_data(self) -> dict[str, Any]:
        """What the JSON holds; nothing where it is missing or no JSON."""
        return self._written.read()

    @property
    def _written(self) -> Written:
        return Written(self.data, "propose")


def links_yaml(links: list[str]) -> str:
    """Links as a recipe's field."""
    lines = [f"  - {json.dumps(text, ensure_ascii=False)}" for text in links]
    return "\n".join(["links:" if links else "links: []", *lines, ""])
