"""How a folder of images and maps of labels is laid out: which pairs train, which select, which test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from layerlink.data.folders.pairing import IDS, Files, images_below, labels_below, listed, unpaired
from layerlink.data.folders.parts import ROLES
from layerlink.data.folders.tree import shown
from layerlink.errors import LayerlinkError, UsageError

IMAGES = ("images", "image", "imgs", "img", "jpegimages", "leftimg8bit")
LABELS = ("labels", "label", "masks", "mask", "annotations", "annotation", "annot", "segmentationclass", "gtfine", "gt")
_LISTS = ("", "ImageSets/Segmentation", "ImageSets", "splits")  # where lists of names lie, below the root
_BESIDE = ("annot", "_annot", "_labels", "labels", "_masks")  # train/ and trainannot/

ACCEPTED = (
    "Give a folder of images/ and labels/, each with train/, val/ and test/ inside, or with lists of names train.txt, "
    "val.txt and test.txt beside them; of train/, val/ and test/ with both inside; or as VOC, Cityscapes or CamVid lay "
    "theirs out. Other names of the two: data.arguments={images: NAME, labels: NAME}"
)


@dataclass(frozen=True)
class Pairs:
    """Images with their maps.

    Args:
        where: the folder or list that says so, for people.
        images: files.
        labels: of each its map.
    """

    where: str
    images: tuple[Path, ...]
    labels: tuple[Path, ...]


@dataclass(frozen=True)
class Layout:
    """A folder's pairs.

    Args:
        parts: by ``train``, ``validation`` and ``test``; ``train`` is always there.
        notes: what is used as what.
        warnings: what is not read.
        city_ids: whether maps hold Cityscapes' numbers of all its labels.
        lists: files of names that say so.
    """

    parts: Mapping[str, Pairs]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    city_ids: bool
    lists: tuple[Path, ...]


def find_layout(root: Path, images: str | None = None, labels: str | None = None) -> Layout:
    """The pairs in ``root``, a folder that is there.

    Args:
        root: the folder.
        images: what the folder of images is called; None: one of ``IMAGES``, in any case.
        labels: the same of maps, and ``LABELS``.

    Raises:
        UsageError: where it is laid out otherwise.
        LayerlinkError: where images have no map or maps no image, or something cannot be read; all of it at once.
    """
    problems, warnings, lists = list[str](), list[str](), list[Path]()
    folders = _folders(root)
    pair = _both(folders, images, labels)
    if pair is not None:
        found = _undivided(root, *pair, problems, warnings, lists)
    else:
        found = _divided(folders, images, labels, problems, warnings)
    if not found and not problems:
        raise UsageError(f"segmentation: root {str(root)!r}: {_why_none(folders, images, labels)}. {ACCEPTED}")
    if found and "train" not in found and not problems:
        there = ", ".join(pairs.where for pairs in found.values())
        raise UsageError(f"segmentation: root {str(root)!r} holds {there}, and nothing to train on. {ACCEPTED}")
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems) if len(problems) > 1 else f" {problems[0]}"
        raise LayerlinkError(f"{root}: {len(problems)} problem{'s' if len(problems) > 1 else ''}:{lines}")
    ids = any(path.stem.endswith(IDS) for pairs in found.values() for path in pairs.labels[:1])
    return Layout(found, (_uses(found),), tuple(warnings), ids, tuple(lists))


def _folders(root: Path) -> dict[str, Path]:
    """The folders in a folder, by their names in small letters."""
    return {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir() and path.name[0] != "."}


def _both(folders: Mapping[str, Path], images: str | None, labels: str | None) -> tuple[Path, Path] | None:
    """The folder of images and that of maps, where both are there."""
    found = [
        next((folders[name] for name in ([given.lower()] if given else known) if name in folders), None)
        for given, known in ((images, IMAGES), (labels, LABELS))
    ]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _divided(
    folders: Mapping[str, Path], images: str | None, labels: str | None, problems: list[str], warnings: list[str]
) -> dict[str, Pairs]:
    """``train/images`` and ``train/labels``, or ``train`` and ``trainannot``, and the same of the other parts."""
    parts: dict[str, Pairs] = {}
    for name, folder in folders.items():
        role = ROLES.get(name)
        if role is None:
            continue
        pair = _both(_folders(folder), images, labels)
        beside = next((folders[name + ending] for ending in _BESIDE if name + ending in folders), None)
        if pair is None and beside is not None:
            pair = folder, beside
        if pair is None:
            warnings.append(f"{shown(folder.name)}/ holds no folder of maps of labels and is not read")
            continue
        if role in parts:
            problems.append(f"{folder.parent}: {parts[role].where} and {folder.name}/ are both for {role}. Keep one")
        files = images_below(pair[0], problems)
        parts[role] = _paired(f"{shown(folder.name)}/", files, labels_below(pair[1], files, problems), problems)
    return parts


def _undivided(
    root: Path, images: Path, labels: Path, problems: list[str], warnings: list[str], lists: list[Path]
) -> dict[str, Pairs]:
    """``images`` and ``labels``, with parts inside, with lists of names, or as they are."""
    inside = {
        ROLES[name]: (path, _folders(labels).get(name)) for name, path in _folders(images).items() if name in ROLES
    }
    if inside:
        parts = {}
        for role, (one, other) in inside.items():
            if other is None:
                warnings.append(f"{shown(labels.name)}/ has no {shown(one.name)}/, which is not read")
                continue
            files = images_below(one, problems)
            where = f"{shown(one.name)}/ in {shown(images.name)}/"
            parts[role] = _paired(where, files, labels_below(other, files, problems), problems)
        return parts
    files = images_below(images, problems)
    maps = labels_below(labels, files, problems)
    named = _lists(root)
    lists += named.values()
    if not named:
        return {"train": _paired(f"{shown(images.name)}/", files, maps, problems)}
    parts, taken = {}, set[str]()
    for role, path in named.items():
        names = listed(path, files, problems)
        again = [name for name in names if name in taken]
        if again:
            problems.append(f"{path}: {len(again)} names stand in another list, too, such as {shown(again[0])}")
        taken.update(names)
        parts[role] = _chosen(path.name, names, files, maps, problems)
    rest = [name for name in files if name not in taken and name in maps]
    if "train" not in named and rest:
        parts["train"] = _chosen(f"{shown(images.name)}/", rest, files, maps, problems)
    elif rest:
        warnings.append(f"{len(rest)} images of {shown(images.name)}/ stand in no list and are not read")
    return parts


def _lists(root: Path) -> dict[str, Path]:
    """Lists of names by what they are for, of the first place that has some."""
    for place in _LISTS:
        folder = root / place
        there = sorted(folder.glob("*.txt")) if folder.is_dir() else []
        found = {ROLES[path.stem.lower()]: path for path in there if path.stem.lower() in ROLES}
        if found:
            return found
    return {}


def _paired(where: str, images: Files, labels: Files, problems: list[str]) -> Pairs:
    problems += unpaired(images, labels, where) if images or labels else [f"{where}: expected images; got none"]
    return _pairs(where, images, images, labels)


def _chosen(where: str, names: Iterable[str], images: Files, labels: Files, problems: list[str]) -> Pairs:
    chosen = {name: images[name] for name in names}
    problems += unpaired(chosen, {name: path for name, path in labels.items() if name in chosen}, where)
    if not chosen:
        problems.append(f"{where}: expected names of images; got none")
    return _pairs(where, chosen, images, labels)


def _pairs(where: str, names: Iterable[str], images: Files, labels: Files) -> Pairs:
    both = [name for name in names if name in labels]
    return Pairs(where, tuple(images[name] for name in both), tuple(labels[name] for name in both))


def _uses(parts: Mapping[str, Pairs]) -> str:
    train = parts["train"].where if "train" in parts else "nothing"
    select = f"{parts['validation'].where}, in place of data.validation" if "validation" in parts else None
    tests = parts["test"].where if "test" in parts else f"a fifth of {train}, as there is no part to test on"
    return f"train: {train}; validation: {select or f'a share of {train}, data.validation'}; test: {tests}"


def _why_none(folders: Mapping[str, Path], images: str | None, labels: str | None) -> str:
    inner = [path for path in folders.values() if _both(_folders(path), images, labels) is not None]
    if inner:
        return f"its folder {shown(inner[0].name)}/ holds images and labels: data.root={inner[0]}"
    names = ", ".join(f"{shown(path.name)}/" for path in list(folders.values())[:5]) or "no folders"
    wanted = f"{images or 'images'}/ and {labels or 'labels'}/"
    return f"expected {wanted}; got {names}"
