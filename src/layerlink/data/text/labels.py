"""Labels as they stand in tables, as classes: 0, 1, ... and their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from layerlink.data.class_names import places_of
from layerlink.data.text.tables import Table
from layerlink.errors import LayerlinkError

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
    classes, places = places_of(labels, names, "data.texts.classes", "texts", counted=named is None)
    return classes, {role: torch.tensor(_of_rows(parts, places, classes)) for role, parts in tables.items()}


def without_labels(tables: Sequence[Table]) -> bool:
    """Whether no row has one, as in test sets whose labels are kept back."""
    return all(label is None for table in tables for label in table.labels)


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
