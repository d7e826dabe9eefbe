"""A schema as tables for people: every field with its values, its default and what it means."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_WORDS: dict[Any, str] = {bool: "yes or no", int: "whole number", float: "number", str: "text", Path: "path"}
_WORDS[int | tuple[int, int]] = "whole number, or [height, width]"
_BOUNDS = {annotated_types.Ge: "≥", annotated_types.Gt: ">", annotated_types.Le: "≤", annotated_types.Lt: "<"}
_ATTRIBUTES = ("ge", "gt", "le", "lt")


def tables(schema: type[BaseModel], *, heading: str, level: int = 2) -> str:
    """Markdown: a table of the schema's fields, then one of every section in it.

    Args:
        schema: whose fields have descriptions.
        heading: of the first table.
        level: of that heading; those of sections are one deeper.
    """
    found = sections_of(schema)
    parts = [_table(schema, heading, level), *(_table(section, f"`{name}`", level + 1) for name, section in found)]
    return "\n".join(parts)


def _table(schema: type[BaseModel], heading: str, level: int) -> str:
    about = " ".join((schema.__doc__ or "").split())
    lines = [f"{'#' * level} {heading}", "", about, "", "| field | values | default | meaning |", "|---|---|---|---|"]
    for name, field in schema.model_fields.items():
        section = section_of(field.annotation)
        values = "section" if section else " ".join([_values(field.annotation), *_bounds(field)])
        cells = [f"`{field.alias or name}`", values, _default(field), field.description or ""]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def sections_of(schema: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    """The sections in a schema, each once, by dotted name; NAME stands for what the user names."""
    return list(_sections(schema, "", {schema}))


def _sections(
    schema: type[BaseModel], before: str, seen: set[type[BaseModel]]
) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in schema.model_fields.items():
        section = section_of(field.annotation)
        if section is not None and section not in seen:
            seen.add(section)
            mapping = get_origin(_bare(field.annotation)) is dict
            dotted = f"{before}{field.alias or name}{'.NAME' if mapping else ''}"
            yield dotted, section
            yield from _sections(section, f"{dotted}.", seen)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, alone or by names; None where it holds plain values."""
    if get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation  # list[str] is a type, too, before Python 3.11
    inside = get_args(annotation)
    if get_origin(annotation) is Annotated:
        inside = inside[:1]
    return next((found for found in map(section_of, inside) if found is not None), None)


def _bare(annotation: Any) -> Any:
    """Without what is annotated, and without None beside it."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        others = [_bare(part) for part in get_args(annotation) if part is not type(None)]
        return others[0] if len(others) == 1 else Union[tuple(others)]  # noqa: UP007 - made of a list
    return annotation


def _values(annotation: Any) -> str:
    bare = _bare(annotation)
    origin, inside = get_origin(bare), get_args(bare)
    if origin is Literal:
        return ", ".join(f"`{_written(value)}`" for value in inside)
    if origin is dict:
        return "by name: " + (_values(inside[1]) or "values")
    if origin in (tuple, list):
        return f"list of {_values(inside[0])}".replace("list of text", "list of texts").replace("number", "numbers")
    return _WORDS.get(bare, "any value" if bare is Any or not isinstance(bare, type) else bare.__name__)


def _bounds(field: FieldInfo) -> Iterator[str]:
    """Of a number, as far as they stand in the schema."""
    inside = get_args(field.annotation)
    rules = [*field.metadata, *(inside[1:] if get_origin(field.annotation) is Annotated else ())]
    rules += [rule for part in inside for rule in getattr(part, "__metadata__", ())]
    for rule in rules:
        for kind, sign in _BOUNDS.items():
            if isinstance(rule, kind):
                yield f"{sign} {next(getattr(rule, name) for name in _ATTRIBUTES if hasattr(rule, name)):,}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return ""
    return "none" if value is None or value == "" else f"`{_written(value)}`"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
