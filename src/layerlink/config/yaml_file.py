"""YAML files with a schema: values set by dotted places, every mistake told with its line."""

from __future__ import annotations

import copy
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from layerlink.config.plain_values import plain, short
from layerlink.errors import Problem, ProblemsError, UsageError, closest, unknown_name

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Place = tuple[str | int, ...]
Schema = TypeVar("Schema", bound=BaseModel)
PATHS = ("root", "weights")  # fields whose value on the command line is taken to the letter
MOST_BYTES = 1_000_000  # of a file


@dataclass(frozen=True)
class Change:
    """A value in place of the file's.

    Args:
        place: which field.
        value: plain.
        origin: who says so, for messages, such as ``'training.epochs=3' on the command line``.
    """

    place: Place
    value: Any
    origin: str


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
    files = [str(file) for file in Path().glob("*.y*ml")]
    raise UsageError(f"{unknown_name(kind, source, [*known, *files])} (layerlink ls shows them; or give a file)")


def read_as(schema: type[Schema], tree: Any, source: str, changes: Iterable[Change], problems: list[Problem]) -> Schema:
    """The tree, changed, as an instance of ``schema``.

    Args:
        schema: a pydantic model.
        tree: from ``parse_yaml``; it is changed.
        source: for messages.
        changes: values in place of the file's; later ones win.
        problems: what was wrong before; told along.

    Raises:
        ProblemsError: everything that is wrong, in the order of lines.
    """
    origins: dict[Place, str] = {}
    for change in changes:
        try:
            set_value(tree, change.place, change.value)
            origins[change.place] = change.origin
        except UsageError as error:
            problems.append(Problem(change.origin, str(error)))
    try:
        value = schema.model_validate(plain(tree))
    except UsageError as error:
        raise ProblemsError(source, [*problems, Problem(schema.__name__.lower(), str(error))]) from None
    except ValidationError as error:
        problems += [problem_at(*explain(item, schema), tree, origins) for item in error.errors()]
    if problems:
        raise ProblemsError(source, sorted(problems, key=lambda problem: problem.line or 0))
    return value


def read_overrides(texts: Sequence[str], problems: list[Problem]) -> list[Change]:
    """The changes that ``key=value`` texts of the command line ask for; what is none goes to ``problems``."""
    changes = []
    for text in texts:
        origin = f"{text!r} on the command line"
        try:
            changes.append(Change(*parse_override(text), origin))
        except UsageError as error:
            problems.append(Problem(origin, str(error)))
    return changes


def parse_yaml(text: str, source: str) -> Any:
    """The file's mappings and lists, which know their lines."""
    try:
        tree = load_yaml(text, "rt")
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark else None
        raise ProblemsError(source, [Problem("YAML", str(error.problem or error.context), line)]) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise ProblemsError(source, [Problem("YAML", str(error) or type(error).__name__)]) from None
    if not isinstance(tree, dict):
        raise ProblemsError(source, [Problem("file", f"must be fields like `student: vgg7`; got {short(tree)}", 1)])
    return tree


def load_yaml(text: str, kind: Literal["rt", "safe"]) -> Any:
    """What a YAML text holds: "rt" with lines, "safe" without.

    Raises:
        YAMLError, ValueError, RecursionError: where it is none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's, about anchors that are used twice
            if "*" in text and "&" in text:  # an alias inside its own value would be read as nothing, without a word
                _refuse_loops(YAML(typ="safe", pure=True).compose(text), frozenset(), set())
            return YAML(typ=kind, pure=True).load(text)
    except (YAMLError, ValueError, RecursionError):
        raise
    except Exception as error:  # tags on what they do not fit meet the library's own faults: !!int '', !!bool x
        raise ValueError(f"a value does not fit its tag ({type(error).__name__}: {error})") from error


def _refuse_loops(node: Any, above: frozenset[int], done: set[int]) -> None:
    if id(node) in above:
        raise ValueError("an alias stands inside the value that it stands for")
    if id(node) in done or not isinstance(getattr(node, "value", None), list):
        return
    for entry in node.value:
        for part in entry if isinstance(entry, tuple) else (entry,):
            _refuse_loops(part, above | {id(node)}, done)
    done.add(id(node))


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
    place = place_of(key)
    if (place[0] == "links" and len(place) == 2) or (place[-1] in PATHS and value not in ("", "null", "~")):
        return place, value  # a link's colon, and what paths may hold, is not YAML's
    try:
        parsed = load_yaml(value, "safe")
    except (YAMLError, ValueError, RecursionError):
        raise UsageError(f"the value {value!r} is not YAML; put quotes around text with special characters") from None
    return place, parsed


def place_of(key: str) -> Place:
    """A dotted name as a place; whole numbers count the entries of a list.

    >>> place_of("links.0")
    ('links', 0)
    """
    return tuple(int(part) if re.fullmatch("[0-9]{1,9}", part) else part for part in key.split("."))


def set_value(root: Any, place: Place, value: Any) -> None:
    """Set the field at ``place``; sections on the way are made where they are missing."""
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
            raise UsageError(f"{dotted(place[: depth + 1])} has no fields to set")
    last = place[-1]
    if isinstance(tree, dict) or (isinstance(tree, list) and isinstance(last, int) and last < len(tree)):
        container: Any = tree
        container[last] = value
    else:
        raise UsageError(f"{dotted(place[:-1])} has no field {last!r} to set")


def explain(item: Any, schema: type[BaseModel]) -> tuple[Place, str]:
    """Place and sentence of one of pydantic's findings about ``schema``."""
    place: Place = tuple(item["loc"])
    kind, given = item["type"], item["input"]
    if kind == "extra_forbidden":
        fields = _fields_at(place[:-1], schema)
        near = [dotted((*place[:-1], name)) for name in closest(str(place[-1]), fields)]
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(fields)}"
        return place, f"unknown field. {hint}"
    if kind == "missing":
        return place, "is missing"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    shown = "" if isinstance(given, dict | BaseModel) or kind == "value_error" else f"; got {short(given)}"
    return place, message + shown


def _fields_at(place: Place, schema: type[BaseModel]) -> list[str]:
    section = schema
    for part in place:
        annotation: Any = section.model_fields[str(part)].annotation if part in section.model_fields else None
        choices = [annotation, *getattr(annotation, "__args__", ())]
        found = [c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)]
        if not found:
            return []
        section = found[0]
    return list(section.model_fields)


def problem_at(place: Place, what: str, tree: Any, origins: Mapping[Place, str]) -> Problem:
    """A problem with the field at ``place``, with who set it or its line."""
    name = dotted(place) or "recipe"
    if place[:1] == ("links",) and len(place) == 2:
        name = f'links[{place[1]}] "{_value_at(tree, place)}"'
    for written, origin in origins.items():
        if place and (written == place[: len(written)] or place == written[: len(place)]):
            return Problem(f"{name}   ({origin})", what)
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


def dotted(place: Place) -> str:
    """``("training", "epochs")`` as ``training.epochs``."""
    return ".".join(str(part) for part in place)
