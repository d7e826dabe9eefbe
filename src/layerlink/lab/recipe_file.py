"""Recipe files: found by path or shipped name, overridden by key=value, every mistake told with its line."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from layerlink.errors import Problem, ProblemsError, UsageError, closest, unknown_name
from layerlink.lab.recipe import Recipe

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Place = tuple[str | int, ...]
PATHS = ("root", "weights")  # fields whose value on the command line is taken to the letter


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe and where each of its fields was written.

    Args:
        recipe: the checked recipe.
        name: the file's name without its ending; a run is called by it.
        source: the file as the user named it.
        tree: the file's mappings and lists, which know their lines; None for a recipe made in Python.
        overrides: ``key=value`` texts, by the place that they set.
    """

    recipe: Recipe
    name: str
    source: str
    tree: Any = None
    overrides: Mapping[Place, str] = field(default_factory=dict)

    def problem(self, place: Place, what: str) -> Problem:
        """A problem with the field at ``place``, with its line or its override."""
        return _problem(place, what, self.tree, self.overrides)

    def error(self, problems: Sequence[Problem]) -> ProblemsError:
        """The error that tells all ``problems`` of this recipe."""
        return ProblemsError(self.source, problems)


def shipped_recipes() -> dict[str, Traversable]:
    """The recipes that come with layerlink, by name."""
    folder = resources.files("layerlink.lab") / "recipes"
    return {
        f"{group.name}/{file.name.removesuffix('.yaml')}": file
        for group in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if group.is_dir()
        for file in sorted(group.iterdir(), key=lambda entry: entry.name)
        if file.name.endswith(".yaml")
    }


def load_recipe(source: str, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read and check a recipe.

    Args:
        source: path of a YAML file, or the name of a shipped recipe.
        overrides: ``key=value`` texts; the key is a dotted path, the value is YAML.

    Raises:
        UsageError: where there is no such recipe.
        ProblemsError: everything that is wrong with the recipe and the overrides, with lines.
    """
    text, name = _read(source)
    tree = _parse(text, source)
    places: dict[Place, str] = {}
    problems: list[Problem] = []
    for override in overrides:
        try:
            place, value = parse_override(override)
            _set(tree, place, value)
            places[place] = override
        except UsageError as error:
            problems.append(Problem(f"{override!r} on the command line", str(error)))
    try:
        recipe = Recipe.model_validate(_plain(tree))
    except UsageError as error:
        raise ProblemsError(source, [*problems, Problem("recipe", str(error))]) from None
    except ValidationError as error:
        problems += [_problem(*_explain(item), tree, places) for item in error.errors()]
    if problems:
        raise ProblemsError(source, sorted(problems, key=lambda problem: problem.line or 0))
    return LoadedRecipe(recipe, name, source, tree, places)


def dump_recipe(recipe: Recipe) -> str:
    """The recipe with every field, as YAML that ``load_recipe`` reads."""
    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(recipe.model_dump(mode="json"), out)
    return out.getvalue()


def _read(source: str) -> tuple[str, str]:
    path = Path(source)
    shipped = shipped_recipes()
    try:
        if path.is_file():
            return path.read_text(encoding="utf-8"), path.stem
        if source in shipped:
            return shipped[source].read_text(encoding="utf-8"), source.rpartition("/")[2]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {source}: {error}") from None
    if path.is_dir():
        raise UsageError(f"{source} is a folder; a recipe is a YAML file")
    files = [str(file) for file in Path().glob("*.y*ml")]
    raise UsageError(f"{unknown_name('recipe', source, [*shipped, *files])} (layerlink ls shows them; or give a file)")


def _parse(text: str, source: str) -> Any:
    try:
        tree = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark else None
        raise ProblemsError(source, [Problem("YAML", str(error.problem or error.context), line)]) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise ProblemsError(source, [Problem("YAML", str(error) or type(error).__name__)]) from None
    if not isinstance(tree, dict):
        raise ProblemsError(source, [Problem("recipe", f"must be fields like `student: vgg7`; got {tree!r}", 1)])
    return tree


def parse_override(text: str) -> tuple[Place, Any]:
    """The place and the value of a ``key=value`` text.

    Raises:
        UsageError: where it is none, or the value is not YAML.

    >>> parse_override("training.epochs=3")
    (('training', 'epochs'), 3)
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError("expected key=value, such as training.epochs=3")
    place = tuple(int(part) if part.isdigit() else part for part in key.split("."))
    if (place[0] == "links" and len(place) == 2) or (place[-1] in PATHS and value not in ("", "null", "~")):
        return place, value  # a link's colon, and what paths may hold, is not YAML's
    try:
        parsed = YAML(typ="safe", pure=True).load(value)
    except (YAMLError, ValueError, RecursionError):
        raise UsageError(f"the value {value!r} is not YAML; put quotes around text with special characters") from None
    return place, parsed


def _set(root: Any, place: Place, value: Any) -> None:
    tree: Any = root
    for depth, part in enumerate(place[:-1]):
        if isinstance(tree, dict):
            if tree.get(part) is None:
                tree[part] = {}
            elif isinstance(tree[part], str) and place[:depth] == () and part in ("teacher", "student"):
                tree[part] = {"model": tree[part]}  # `student: vgg7` is short for `student: {model: vgg7}`
            elif (*place[:depth], part) == ("teacher", "store") and tree[part] == "auto":
                tree[part] = {}  # `store: auto` is short for the defaults
            tree[part] = copy.copy(tree[part])  # an alias (*name) is the same object in several places
            tree = tree[part]
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree[int(part)] = copy.copy(tree[int(part)])
            tree = tree[int(part)]
        else:
            raise UsageError(f"{_dotted(place[: depth + 1])} has no fields to set")
    last = place[-1]
    if isinstance(tree, dict) or (isinstance(tree, list) and isinstance(last, int) and last < len(tree)):
        container: Any = tree
        container[last] = value
    else:
        raise UsageError(f"{_dotted(place[:-1])} has no field {last!r} to set")


def _plain(value: Any, place: str = "recipe") -> Any:
    """YAML's values as plain ones, so that a recipe comes back from its dump as it was.

    Raises:
        UsageError: for what is neither text, number, yes/no, list nor mapping with text keys.
    """
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise UsageError(f"{place}: the key {key!r} must be text; put it in quotes")
        return {str(key): _plain(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, place) for item in value]
    if isinstance(value, bool):  # before int, which it is too
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if value is None:
        return None
    raise UsageError(f"{place}: must be text, a number, true or false, a list or fields; got {type(value).__name__}")


def _explain(item: Any) -> tuple[Place, str]:
    """Place and sentence of one of pydantic's findings."""
    place: Place = tuple(item["loc"])
    kind, given = item["type"], item["input"]
    if kind == "extra_forbidden":
        fields = _fields_at(place[:-1])
        near = [_dotted((*place[:-1], name)) for name in closest(str(place[-1]), fields)]
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(fields)}"
        return place, f"unknown field. {hint}"
    if kind == "missing":
        return place, "is missing"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    shown = "" if isinstance(given, dict | BaseModel) or kind == "value_error" else f"; got {_short(given)}"
    return place, message + shown


def _fields_at(place: Place) -> list[str]:
    section: type[BaseModel] = Recipe
    for part in place:
        annotation: Any = section.model_fields[str(part)].annotation if part in section.model_fields else None
        choices = [annotation, *getattr(annotation, "__args__", ())]
        found = [c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)]
        if not found:
            return []
        section = found[0]
    return list(section.model_fields)


def _problem(place: Place, what: str, tree: Any, overrides: Mapping[Place, str]) -> Problem:
    name = _dotted(place) or "recipe"
    if place[:1] == ("links",) and len(place) == 2:
        name = f'links[{place[1]}] "{_value_at(tree, place)}"'
    for written, override in overrides.items():
        if place and (written == place[: len(written)] or place == written[: len(place)]):
            return Problem(f"{name}   ({override!r} on the command line)", what)
    return Problem(name, what, _line_of(place, tree))


def _line_of(place: Place, tree: Any) -> int | None:
    line = None
    for part in place:
        marks = getattr(tree, "lc", None)
        try:
            if marks is None or part not in (tree if isinstance(tree, dict) else range(len(tree))):
                break
            line = (marks.key(part) if isinstance(tree, dict) else marks.item(part))[0] + 1
        except (KeyError, TypeError, AttributeError):
            break
        tree = tree[part]
    return line


def _value_at(root: Any, place: Place) -> Any:
    value: Any = root
    for part in place:
        if not isinstance(value, dict | list):
            return value
        value = value[part]  # type: ignore[index]
    return value


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
