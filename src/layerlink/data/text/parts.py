"""Which tables of a folder are to train on, which select and which test, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerlink.data.folders.parts import ROLES
from layerlink.data.text.tables import ENDINGS
from layerlink.errors import UsageError

_ROLES = {**ROLES, **dict.fromkeys(("dev", "eval"), "validation")}  # of folders of images these may be classes
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")
_MARKED = ("dataset_dict.json", "state.json")  # of a folder that Hugging Face's datasets saved
ACCEPTED = (
    f"Give a folder with train, dev (or val, valid, validation) and test files that end in {', '.join(ENDINGS)}, in it "
    "or in its folder data/, or one that save_to_disk of Hugging Face's datasets wrote"
)


@dataclass(frozen=True)
class Parts:
    """A folder's tables.

    Args:
        files: by what they are used as, "train", "validation", "test": one, or the shards of one.
        others: tables that are not read.
    """

    files: dict[str, list[Path]]
    others: list[Path]


def role_of(name: str) -> str | None:
    """What a file or split of this name, without its ending, is used as; None where the name does not say."""
    return _ROLES.get(_SHARD.sub("", name).lower())


def is_saved_dataset(root: Path) -> bool:
    """Whether Hugging Face's ``datasets`` saved the folder."""
    return any((root / name).is_file() for name in _MARKED)


def find_tables(root: Path) -> Parts:
    """The tables in ``root``, or in ``root/data``, by what they are used as.

    Raises:
        UsageError: where none is to train on, or two files could be the same part.
    """
    found: dict[str, list[Path]] = {}
    others: list[Path] = []
    for folder in (root, root / "data"):
        tables = sorted(_tables(folder)) if folder.is_dir() else []
        for path in tables:
            role = role_of(path.stem)
            (others if role is None else found.setdefault(role, [])).append(path)
        if found:
            break
    problems = [problem for files in found.values() for problem in _not_one(files)]
    if "train" not in found:
        names = ", ".join(path.name for path in [*(file for files in found.values() for file in files), *others][:8])
        problems.insert(0, f"holds no file to train on{f', but {names}' if names else ''}. {ACCEPTED}")
    if problems:
        raise UsageError(f"text: root {str(root)!r} {'; '.join(problems)}")
    return Parts(found, others)


def _tables(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file():
            yield path


def _not_one(files: Sequence[Path]) -> Iterator[str]:
    """What is wrong with files that are used as one part: they are the shards of one, or one alone."""
    shards = [_SHARD.search(path.stem) for path in files]
    if len(files) > 1 and not all(shards):
        yield f"holds {' and '.join(path.name for path in files)}, which could be the same part. Keep one of them"
    elif shards[0] is not None:
        counts = {int(it[2]) for it in shards if it is not None}
        numbers = {int(it[1]) for it in shards if it is not None}
        if len(counts) > 1 or numbers != set(range(max(counts))):
            names = ", ".join(path.name for path in files[:4])
            yield f"holds {len(files)} shards, {names}; expected all of one cutting. Keep those of one download"
