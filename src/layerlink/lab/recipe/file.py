"""Recipe files: found by path or shipped name, overridden by key=value, every mistake told with its line."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML

from layerlink.config.changes import Change, Place, read_overrides
from layerlink.config.reading import problem_at, read_as
from layerlink.config.shipped import read_source
from layerlink.config.text import parse_yaml
from layerlink.errors import Problem, ProblemsError
from layerlink.lab.recipe.models import ModelSection
from layerlink.lab.recipe.peers import STUDENT, recipes_of_peers
from layerlink.lab.recipe.schema import Recipe
from layerlink.user_code import is_file

AnyModel = TypeVar("AnyModel", bound=ModelSection)


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe and where each of its fields was written.

    Args:
        recipe: the checked recipe.
        name: the file's name without its ending; a run is called by it.
        source: the file as the user named it.
        tree: the file's mappings and lists, which know their lines; None for a recipe made in Python.
        origins: who set a field that is not the file's, by its place.
        peer: whose recipe it is, where it is that of one of the file's peers; empty for the file's own student.
    """

    recipe: Recipe
    name: str
    source: str
    tree: Any = None
    origins: Mapping[Place, str] = field(default_factory=dict)
    peer: str = ""

    def problem(self, place: Place, what: str) -> Problem:
        """A problem with the field at ``place``, with its line or who set it."""
        return problem_at(self._in_file(place), what, self.tree, self.origins)

    def place_of_teacher(self, name: str) -> Place:
        """Where a teacher stands: one alone has no name."""
        if self.recipe.peers is not None:
            return "peers", name or next(iter(self.recipe.peers))
        return ("teachers", name) if name else ("teacher",)

    @property
    def peers(self) -> dict[str, LoadedRecipe]:
        """By name the recipe that each peer of its student is trained by."""
        return {name: replace(self, recipe=recipe, peer=name) for name, recipe in recipes_of_peers(self.recipe).items()}

    def _in_file(self, place: Place) -> Place:
        """The place in the file of a place in a peer's recipe."""
        if self.peer and place[:1] in (("student",), ("links",)):
            return "peers", self.peer, *(place[1:] if place[0] == "student" else place)
        return place[1:] if self.peer and place[:2] == ("peers", STUDENT) else place

    def error(self, problems: Sequence[Problem]) -> ProblemsError:
        """The error that tells all ``problems`` of this recipe."""
        return ProblemsError(self.source, problems)


def load_recipe(
    source: str, overrides: Sequence[str] = (), *, changes: Sequence[Change] = (), text: str | None = None
) -> LoadedRecipe:
    """Read and check a recipe.

    Args:
        source: path of a YAML file, or the name of a shipped recipe.
        overrides: ``key=value`` texts; the key is a dotted path, the value is YAML.
        changes: other values in place of the file's; ``overrides`` win over them.
        text: what the file at ``source`` holds, where it was read already.

    Raises:
        UsageError: where there is no such recipe.
        ProblemsError: everything that is wrong with the recipe and the overrides, with lines.
    """
    text, name = read_source(source, "recipe") if text is None else (text, Path(source).stem)
    tree = parse_yaml(text, source)
    problems: list[Problem] = []
    everything = [*changes, *read_overrides(overrides, problems)]
    recipe = _beside(read_as(Recipe, tree, source, everything, problems), Path(source))
    return LoadedRecipe(recipe, name, source, tree, {change.place: change.origin for change in everything})


def _beside(recipe: Recipe, source: Path) -> Recipe:
    """Models that are named by a file beside the recipe, by its whole path: it is found from wherever one stands."""
    changes: dict[str, Any] = {}
    for role in ("student", "teacher"):
        section = getattr(recipe, role)
        if section is not None:
            changes[role] = _model_beside(section, source)
    for role in ("teachers", "peers"):
        sections = getattr(recipe, role)
        if sections is not None:
            changes[role] = {name: _model_beside(section, source) for name, section in sections.items()}
    return recipe.model_copy(update=changes)


def _model_beside(section: AnyModel, source: Path) -> AnyModel:
    if not is_file(section.model):
        return section
    name, _, attribute = section.model.rpartition(":")
    place = next((it for it in (source.parent / name, Path(name).expanduser()) if it.is_file()), None)
    if place is None:
        return section
    return section.model_copy(update={"model": f"{place.resolve()}:{attribute}"})


def dump_recipe(recipe: Recipe, *, short: bool = False) -> str:
    """The recipe as YAML that ``load_recipe`` reads.

    Args:
        recipe: that is written.
        short: only fields that differ from their defaults, else every field.
    """
    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(recipe.model_dump(mode="json", by_alias=True, exclude_defaults=short), out)
    return out.getvalue()
