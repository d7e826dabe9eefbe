"""Values in place of a file's: fields by dotted name, ``key=value`` texts of the command line."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml.error import YAMLError

from layerlink.config.text import load_yaml
from layerlink.errors import Problem, UsageError

Place = tuple[str | int, ...]
PATHS = ("root", "weights")  # fields whose value on the command line is taken to the letter


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


def parse_override(text: str, *, example: str = "training.epochs=3") -> tuple[Place, Any]:
    """The place and the value of a ``key=value`` text.

    Raises:
        UsageError: where it is none, or the value is not YAML.

    >>> parse_override("training.epochs=3")
    (('training', 'epochs'), 3)
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"expected key=value, such as {example}")
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


def dotted(place: Place) -> str:
    """``("training", "epochs")`` as ``training.epochs``."""
    return ".".join(str(part) for part in place)


def _written_out(part: str | int, value: Any) -> dict[str, Any] | None:
    """A section of a recipe that is written as one value: `student: vgg7` is short for `student: {model: vgg7}`."""
    if part == "hard" and isinstance(value, int | float | str) and not isinstance(value, bool):
        return {"loss" if isinstance(value, str) else "weight": value}
    short = {"teacher": "model", "student": "model", "task": "name"}
    return {short[str(part)]: value} if part in short and isinstance(value, str) else None


def set_value(root: Any, place: Place, value: Any) -> None:
    """Set the field at ``place``; sections on the way are made where they are missing."""
    tree: Any = root
    for depth, part in enumerate(place[:-1]):
        if isinstance(tree, dict):
            if tree.get(part) is None:
                tree[part] = {}
            elif depth == 0 and (whole := _written_out(part, tree[part])) is not None:
                tree[part] = whole
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
