"""Labels as they stand in tables, as classes: 0, 1, ... and their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from layerlink.data.text.tables import Table
from layerlink.errors import LayerlinkError, UsageError, closest

Tables = Mapping[str, Sequence[Table]]  # by what they are used as


def as_classes(tables: Tables, named: Sequence[str] | None) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """The classes of the tables, and every row's.

    Classes are those of the training rows: whole numbers in their order, other labels in that of their letters. Names
    that are given, or that a file tells, are those of the labels 0, 1, ...; or they are the labels, and give the order.

    Args:
        tables: "train" and others.
        named: the names of all classes; None: as the files have them.

    Returns:
        The classes' names, and by what the tables are used as (N,) int64.

    Raises:
        UsageError: where names and labels are not the same.
        LayerlinkError: where a row has no label, or one that no training row has.
    """
    for role, parts in tables.items():
        _check_all_labelled(role, parts)
    told = next((table.classes for table in tables["train"] if table.classes is not None), None)
    names = tuple(named) if named is not None else told
    labels = {label for table in tables["train"] for label in table.labels if label is not None}
    classes, places = _places(labels, names)
    return classes, {role: torch.tensor(_of_rows(parts, places, classes)) for role, parts in tables.items()}


def without_labels(tables: Sequence[Table]) -> bool:
    """Whether no row has one, as in test sets whose labels are kept back."""
    return all(label is None for table in tables for label in table.labels)


def _places(labels: set[str], names: tuple[str, ...] | None) -> tuple[tuple[str, ...], dict[str, int]]:
    numbers = all(label.isascii() and label.isdigit() for label in labels)
    if names is None:
        order = sorted(labels, key=int) if numbers else sorted(labels)
        return tuple(order), {label: place for place, label in enumerate(order)}
    if len(set(names)) < len(names):
        raise UsageError(f"data.texts.classes: a name stands twice: {', '.join(names)}")
    if labels <= set(names):
        return names, {name: place for place, name in enumerate(names)}
    places = {str(place): place for place in range(len(names))}
    if numbers:
        beyond = sorted((label for label in labels if label not in places), key=int)
        if not beyond:
            return names, places
        raise UsageError(
            f"data.texts.classes names {len(names)} classes, the labels 0 to {len(names) - 1}; the training texts also "
            f"have the label{'s' if len(beyond) > 1 else ''} {', '.join(beyond[:8])}"
        )
    unknown = sorted(labels - set(names))
    near = closest(unknown[0], names)
    raise UsageError(
        f"data.texts.classes lacks the label{'s' if len(unknown) > 1 else ''} {', '.join(unknown[:8])} of the training "
        f"texts; it names {', '.join(names)}{f'. Is {unknown[0]} the same as {near[0]}?' if near else ''}"
    )


def _check_all_labelled(role: str, tables: Sequence[Table]) -> None:
    for table in tables:
        bare = [where for where, label in zip(table.rows, table.labels, strict=True) if label is None]
        if bare:
            raise LayerlinkError(
                f"{table.path}: {len(bare):,} of {len(table):,} {role} texts have no label, the first at {bare[0]}. "
                "Give every text one, or leave those rows out"
            )


def _of_rows(tables: Sequence[Table], places: Mapping[str, int], classes: Sequence[str]) -> list[int]:
    found = []
    for table in tables:
        for where, label in zip(table.rows, table.labels, strict=True):
            place = places.get(str(label))
            if place is None:
                raise LayerlinkError(
                    f"{table.path}, {where}: the label {label!r} is none of the {len(classes)} classes of the training "
                    f"texts: {', '.join(classes[:8])}{', ...' if len(classes) > 8 else ''}"
                )
            found.append(place)
    return found
