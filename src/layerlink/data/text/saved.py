"""Folders that ``save_to_disk`` of Hugging Face's ``datasets`` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from layerlink.data.text.parts import role_of
from layerlink.data.text.tables import Table, Wanted, of_columns
from layerlink.errors import LayerlinkError, UsageError, unknown_name
from layerlink.optional import need


def read_saved(root: Path, wanted: Wanted) -> dict[str, list[Table]]:
    """The splits of a saved folder by what they are used as; a data set without splits is to train on.

    Raises:
        UsageError: where a column or a split to train on is not there.
        LayerlinkError: where the folder cannot be read, or ``datasets`` is not installed.
    """
    if not wanted.has_header:
        raise UsageError(f"{root}: its columns have names; name them in data.texts.columns and data.texts.label")
    datasets = need("datasets", "text", f"{root}: reading a folder of Hugging Face's datasets")
    try:
        found = datasets.load_from_disk(str(root))
    except Exception as error:  # noqa: BLE001 - whatever the library raises of a damaged folder
        raise LayerlinkError(f"{root} cannot be read by datasets: {str(error).splitlines()[0]}") from None
    splits = dict(found) if isinstance(found, dict) else {"train": found}
    tables: dict[str, list[Table]] = {}
    for name, split in splits.items():
        role = role_of(name)
        if role is not None:
            tables.setdefault(role, []).append(_table(root / name, split, wanted))
    if "train" not in tables:
        raise UsageError(f"{root} holds the splits {', '.join(splits)} and none to train on")
    return tables


def _table(path: Path, split: Any, wanted: Wanted) -> Table:
    missing = [name for name in wanted.every if name not in split.column_names]
    if missing:
        told = "; ".join(unknown_name("column", str(name), split.column_names) for name in missing)
        raise UsageError(f"{path}: {told} It has {', '.join(split.column_names)}")
    names = None if wanted.label is None else getattr(split.features[wanted.label], "names", None)
    classes = tuple(map(str, names)) if isinstance(names, list) and names else None
    return of_columns(path, [list(split[name]) for name in wanted.every], wanted, classes)
