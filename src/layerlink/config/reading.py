"""A tree of values as an instance of a schema; every mistake is told with its line or with who set it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from layerlink.config.changes import Change, Place, dotted, set_value
from layerlink.config.plain_values import read_plain, short
from layerlink.config.reference import section_of, sections_of
from layerlink.config.shipped import meant_kind
from layerlink.errors import Problem, ProblemsError, UsageError, closest

Schema = TypeVar("Schema", bound=BaseModel)


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
    values, wrong = read_plain(tree)
    if wrong:
        problems += [problem_at(place, what, tree, origins) for place, what in wrong]
        raise ProblemsError(source, sorted(problems, key=_line))
    try:
        value = schema.model_validate(values)
    except ValidationError as error:
        if instead := meant_kind(tree, schema.__name__.lower(), source):
            raise ProblemsError(source, [*problems, Problem("file", instead)]) from None
        problems += [problem_at(*explain(item, schema), tree, origins) for item in error.errors()]
    if problems:
        raise ProblemsError(source, sorted(problems, key=_line))
    return value


def _line(problem: Problem) -> int:
    return problem.line or 0


def explain(item: Any, schema: type[BaseModel]) -> tuple[Place, str]:
    """Place and sentence of one of pydantic's findings about ``schema``."""
    place: Place = tuple(item["loc"])
    kind, given = item["type"], item["input"]
    if kind == "extra_forbidden":
        fields = _fields_at(place[:-1], schema)
        near = elsewhere(str(place[-1]), schema)
        near = near or [dotted((*place[:-1], name)) for name in closest(str(place[-1]), fields)]
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(fields)}"
        return place, f"unknown field. {hint}"
    if kind == "missing":
        return place, "is missing"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        names = _fields_at(place, schema) if kind != "dict_type" else []
        fields_of = f"fields, of {', '.join(names)}" if names else "fields, {name: value, ...}"
        return place, "is empty" if given is None else f"must be {fields_of}; got {short(given)}"
    if kind in ("tuple_type", "list_type"):
        return place, f"must be a list, [...]; got {short(given)}"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    shown = "" if isinstance(given, dict | BaseModel) or kind == "value_error" else f"; got {short(given)}"
    return place, message + shown


def elsewhere(name: str, schema: type[BaseModel]) -> list[str]:
    """Where a field of that very name stands in the sections of a schema."""
    return [
        f"{section}.{name}"
        for section, fields in sections_of(schema)
        if ".NAME" not in section and name in _by_written_name(fields)
    ]


def _fields_at(place: Place, schema: type[BaseModel]) -> list[str]:
    section = schema
    for part in place:
        fields = _by_written_name(section)
        annotation: Any = fields[str(part)].annotation if part in fields else None
        found = section_of(annotation)
        if found is None:
            return []
        section = found
    return list(_by_written_name(section))


def _by_written_name(section: type[BaseModel]) -> dict[str, Any]:
    """Fields by the names that files use; Python has some words for itself."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def problem_at(place: Place, what: str, tree: Any, origins: Mapping[Place, str]) -> Problem:
    """A problem with the field at ``place``, with who set it or its line."""
    name = dotted(place) or "recipe"
    if place[-2:-1] == ("links",):
        name = f'{dotted(place[:-1])}[{place[-1]}] "{_value_at(tree, place)}"'
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
