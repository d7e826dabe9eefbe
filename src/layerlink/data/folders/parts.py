"""Which of a folder's images are to train on, which select and which test; and what of it is not read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from layerlink.data.folders.said import FEW, Said, Tree, say_unread
from layerlink.data.folders.tree import (
    ENDINGS,
    below,
    composed,
    counted,
    shown,
    why_lost,
)
from layerlink.errors import LayerlinkError, UsageError

ROLES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# A folder beside train/ may be anything, a home folder even: beyond this it is not counted.
_MOST_COUNTED = 10_000

ACCEPTED = (
    f"Give a folder of train/<class>/ (and val/<class>/, test/<class>/), or of <class>/ alone, "
    f"with images that end in {', '.join(ENDINGS)}."
)


@dataclass(frozen=True)
class Part:
    """The images of one split, class after class.

    Args:
        folder: that holds the class folders.
        files: in the order of their classes' and their own names.
        labels: one a file.
        classes: names in label order, in composed form (NFC).
    """

    folder: Path
    files: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Parts:
    """A folder's splits, and what is to be said of it.

    Args:
        train: to train on.
        validation: to select on; None: a share of ``train``.
        test: to test on; None: a fifth of ``train``.
        notes: what is used as what, and which files are no images.
        warnings: images that are not read.
    """

    train: Part
    validation: Part | None
    test: Part | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def named(self) -> dict[str, Part]:
        """Those that are there, by what they are used as."""
        all_of_them = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in all_of_them.items() if part is not None}


def find_parts(root: Path) -> Parts:
    """The splits in ``root``, a folder that is there.

    ``train/`` (or ``training/``) of class folders is trained on, ``val/``, ``valid/`` or ``validation/`` beside it
    selects, ``test/`` (or ``testing/``) tests; names in any case. Where there is no such folder, or where such folders
    hold images themselves and stand beside other folders, the folders in ``root`` are the classes.

    Raises:
        UsageError: where the folder is laid out otherwise.
        LayerlinkError: where a class is empty, splits have other classes than ``train``, or something cannot be read.
    """
    top = [path for path in root.iterdir() if not path.name.startswith(".")]
    folders = sorted((path for path in top if path.is_dir()), key=lambda path: (composed(path.name), path.name))
    splits = [Tree(path) for path in folders if path.name.lower() in ROLES]
    others = [path for path in folders if path.name.lower() not in ROLES]
    said = Said()
    if splits and not _are_classes(root, splits, others):
        return _from_splits(root, splits, [path for path in top if path not in {tree.folder for tree in splits}], said)
    train = _part(Tree(root), said)
    _end(root, said)
    said.notes.insert(0, _uses("the class folders", None, None))
    return Parts(train, None, None, tuple(said.notes), tuple(said.warnings))


def _are_classes(root: Path, splits: Sequence[Tree], others: Sequence[Path]) -> bool:
    """Whether folders that are named like splits are classes; an error where they can be both."""
    flat = [tree for tree in splits if tree.direct and not tree.deep]
    both = [tree for tree in splits if tree.direct and tree.deep]
    if others and len(flat) == len(splits):
        return True
    if both and others:
        names, first = _listed([tree.folder.name for tree in both]), both[0]
        raise UsageError(
            f"folder: root {str(root)!r}: {names}/ may be a split or a class: {len(first.direct)} images lie right in "
            f"{shown(first.folder.name)}/, {len(first.deep)} in folders inside it, and "
            f"{_listed([path.name for path in others])}/ beside it. Move the images right in it into its "
            f"folders where it "
            f"is a split; where it is a class, into it, or all the classes into a folder train/."
        )
    if flat and any(ROLES[tree.folder.name.lower()] == "train" for tree in splits):
        told = "; ".join(
            f"{shown(tree.folder.name)}/ holds {len(tree.direct)} images and no class folders" for tree in flat
        )
        raise UsageError(
            f"folder: root {str(root)!r}: {told}. {ACCEPTED} Classes of such names stand below a folder train/."
        )
    return False


def _from_splits(root: Path, splits: Sequence[Tree], beside: Sequence[Path], said: Said) -> Parts:
    found: dict[str, list[Tree]] = {}
    for tree in splits:
        found.setdefault(ROLES[tree.folder.name.lower()], []).append(tree)
    if "train" not in found:
        names = _listed([tree.folder.name for tree in splits])
        raise UsageError(f"folder: root {str(root)!r} holds {names}/ but no train/. {ACCEPTED}")
    twice = [trees for trees in found.values() if len(trees) > 1]
    if twice:
        told = "; ".join(" and ".join(f"{shown(tree.folder.name)}/" for tree in trees) for trees in twice)
        raise UsageError(
            f"folder: root {str(root)!r}: expected one folder for each split; got {told}. Keep one of them."
        )
    parts = {role: _part(trees[0], said, is_split=True) for role, trees in found.items()}
    _compare_classes(parts, said)
    _say_beside(root, beside, said)
    _end(root, said)
    train, validation, test = (parts.get(role) for role in ("train", "validation", "test"))
    assert train is not None  # noqa: S101 - looked for above
    said.notes.insert(0, _uses(f"{shown(train.folder.name)}/", validation, test))
    return Parts(train, validation, test, tuple(said.notes), tuple(said.warnings))


def _uses(train: str, validation: Part | None, test: Part | None) -> str:
    """What is used as what."""
    select = f"data.validation's share of {train}"
    if validation is not None:
        select = f"{shown(validation.folder.name)}/, in place of data.validation"
    tests = f"{shown(test.folder.name)}/" if test is not None else f"a fifth of {train}, as there is no test/"
    return f"train: {train}; validation: {select}; test: {tests}"


def _part(tree: Tree, said: Said, *, is_split: bool = False) -> Part:
    """A split's files, class after class."""
    folders = [found.names[0] for found in tree.found if found.kind == "folder" and len(found.names) == 1]
    if not folders and not any(found.kind == "lost" for found in tree.found):
        raise UsageError(f"{tree.folder}: expected a folder for each class; got none. {ACCEPTED}")
    say_unread(tree, said)
    by_name: dict[str, list[str]] = {}
    for name in folders:
        by_name.setdefault(composed(name), []).append(name)
    said.problems += [
        f"{tree.folder}: {' and '.join(ascii(name) for name in names)} are the same name, {shown(alike)!r}, in two "
        f"Unicode forms (NFC, NFD). Put the images of both into one folder."
        for alike, names in by_name.items()
        if len(names) > 1
    ]
    files: list[Path] = []
    labels: list[int] = []
    own: dict[str, list[Path]] = {name: [] for name in by_name}
    for found in tree.deep:
        own[composed(found.names[0])].append(found.path)
    for label, (name, images) in enumerate(own.items()):
        if not images:
            said.problems.append(_empty(tree, by_name[name][0]))
        files += images
        labels += [label] * len(images)
    _check_depth(tree, list(own), is_split, said)
    return Part(tree.folder, tuple(files), tuple(labels), tuple(own))


def _empty(tree: Tree, name: str) -> str:
    there = [found for found in tree.found if found.names[0] == name and found.kind in ("unread", "other")]
    got = f"none, but files of other endings: {counted(there)}" if there else "none"
    return (
        f"{tree.folder / shown(name)}: expected images that end in {', '.join(ENDINGS)}; got {got}. "
        f"Put images there or remove the class folder."
    )


def _check_depth(tree: Tree, classes: Sequence[str], is_split: bool, said: Said) -> None:
    """Tell class folders without images of their own that look like splits or like copies of all the classes."""
    direct = {composed(found.names[0]) for found in tree.images if len(found.names) == 2}
    inner: dict[str, set[str]] = {}
    for found in tree.deep:
        if len(found.names) > 2 and composed(found.names[0]) not in direct:
            inner.setdefault(composed(found.names[0]), set()).add(composed(found.names[1]))
    if inner and not direct and (not is_split or len(classes) == 1):
        said.problems.append(
            f"{tree.folder}: expected class folders; got {_listed(list(inner))}, with images only in folders inside "
            f"({_listed(sorted(set().union(*inner.values())))}). Give data.root the folder that holds the "
            f"class folders, "
            f"or name splits train/, val/ and test/."
        )
        return
    said.problems += [
        f"{tree.folder / shown(name)}: expected a class; got no image but folders that are named like other classes "
        f"({_listed(sorted(inside.intersection(classes)))}). Remove it or move its images into the classes."
        for name, inside in inner.items()
        if inside.intersection(classes)
    ]


def _compare_classes(parts: dict[str, Part], said: Said) -> None:
    """Every split must have the classes of ``train``."""
    train = parts["train"]
    for part in parts.values():
        only = [
            f"only in {one.folder.name}: {_listed(sorted(set(one.classes) - set(other.classes)))}"
            for one, other in ((train, part), (part, train))
            if set(one.classes) - set(other.classes)
        ]
        if only:
            said.problems.append(
                f"{train.folder.parent}: expected the same class folders in {train.folder.name} and "
                f"{part.folder.name}; "
                f"got {'; '.join(only)}. Rename or remove them."
            )


def _say_beside(root: Path, beside: Sequence[Path], said: Said) -> None:
    """Images beside the splits, right in ``root`` or in other folders, are told."""
    told = []
    for path in sorted(beside):
        if path.is_dir():
            images = sum(found.kind in ("image", "unread") for found in islice(below(path), _MOST_COUNTED))
            if images:
                told.append(f"{shown(path.name)}/ ({images} images{' or more' if images >= _MOST_COUNTED else ''})")
        elif not path.exists() and path.name.lower() in ROLES:
            said.problems.append(f"{path}: expected a folder; got {why_lost(path)}. Bring it back or remove the link.")
        elif not path.exists():
            told.append(f"{shown(path.name)} ({why_lost(path)})")
        elif path.suffix.lower() in ENDINGS:
            told.append(shown(path.name))
    if told:
        more = f" and {len(told) - FEW} more" if len(told) > FEW else ""
        said.warnings.append(f"beside the splits in {shown(root.name)}/, not read: {', '.join(told[:FEW])}{more}")


def _listed(names: Sequence[str]) -> str:
    """The first names, with escapes where two that look alike may differ."""
    few = [shown(name) if name.isascii() else f"{shown(name)} ({name!a})" for name in names[:FEW]]
    return ", ".join(few) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")


def _end(root: Path, said: Said) -> None:
    if len(said.problems) == 1:
        raise LayerlinkError(said.problems[0])
    if said.problems:
        lines = "\n".join(f"  {problem}" for problem in said.problems)
        raise LayerlinkError(f"{root}: {len(said.problems)} problems\n{lines}")
