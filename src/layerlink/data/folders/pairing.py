"""Which map of labels belongs to which image, by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from layerlink.data.folders.said import FEW
from layerlink.data.folders.tree import Found, below, composed, order, shown

TRAIN_IDS, IDS = "_gtFine_labelTrainIds", "_gtFine_labelIds"  # of Cityscapes
_OF_LABELS = (TRAIN_IDS, IDS, "_labels", "_label", "_masks", "_mask", "_annotation", "_seg", "_gt", "_L", "_P")
_OF_IMAGES = ("_leftImg8bit", "_image", "_img", "_rgb")

Files = dict[str, Path]


def images_below(folder: Path, problems: list[str]) -> Files:
    """The images below a folder by what names them: the path without its ending and without ``_leftImg8bit``."""
    found: Files = {}
    for each in _sorted(folder, problems):
        if each.kind == "image":
            _add(found, _without(_stem(each), _OF_IMAGES), each.path, problems)
        elif each.kind == "unread":
            problems.append(f"{each.path}: images of this ending are not read. Convert or remove it")
    return found


def labels_below(folder: Path, images: Mapping[str, Path], problems: list[str]) -> Files:
    """The maps below a folder, by the names of their images where such are there.

    Args:
        folder: of PNG files; what else lies there is no map.
        images: as ``images_below`` names them.
        problems: to be added to.
    """
    files = [each for each in _sorted(folder, problems) if each.kind == "image"]
    for ending in (TRAIN_IDS, IDS):  # beside them Cityscapes has colours and instances
        if any(_stem(each).endswith(ending) for each in files):
            files = [each for each in files if _stem(each).endswith(ending)]
            break
    lossy = [each for each in files if each.path.suffix.lower() != ".png"]
    if lossy:
        names = _few(["/".join(each.names) for each in lossy])
        problems.append(f"{folder}: expected maps of labels as PNG; got {len(lossy)} of other endings: {names}")
    found: Files = {}
    for each in files:
        if each not in lossy:
            stem = _stem(each)
            _add(found, stem if stem in images else _without(stem, _OF_LABELS), each.path, problems)
    return found


def listed(path: Path, images: Mapping[str, Path], problems: list[str]) -> list[str]:
    """The names of images that a list has, one a line, with or without folders and ending, in its order.

    Args:
        path: of the list.
        images: those that are there.
        problems: to be added to, where some are not.
    """
    by_own_name: dict[str, list[str]] = {}
    for name in images:
        by_own_name.setdefault(PurePosixPath(name).name, []).append(name)
    found: dict[str, None] = {}
    missing: list[str] = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(f"{path}: expected names in UTF-8, one a line; {error}")
        return []
    for line in filter(None, map(str.strip, composed(text).splitlines())):
        meant = _meant(line, images, by_own_name) or _meant(line.split()[0], images, by_own_name)
        found |= dict.fromkeys(meant)
        missing += [] if meant else [line]
    if missing:
        problems.append(f"{path}: {len(missing)} names are of no image: {_few(missing)}")
    return list(found)


def unpaired(images: Mapping[str, Path], labels: Mapping[str, Path], where: str) -> list[str]:
    """What is to be said of images without a map, and of maps without an image."""
    alone = [name for name in images if name not in labels]
    lost = [name for name in labels if name not in images]
    remedy = "add or remove them, or name those to be used in lists, train.txt, val.txt and test.txt beside the folders"
    return [
        f"{where}: {len(names)} of {len(among)} {what}: {_few(names)}; {remedy}"
        for names, among, what in (
            (alone, images, "images have no map of labels"),
            (lost, labels, "maps have no image"),
        )
        if names
    ]


def _meant(text: str, images: Mapping[str, Path], by_own_name: Mapping[str, Sequence[str]]) -> list[str]:
    path = PurePosixPath(text)
    for whole in (path, path.with_suffix("")):
        name = _without(str(whole), _OF_IMAGES)
        if name in images:
            return [name]
        alike = by_own_name.get(PurePosixPath(name).name, ())
        if len(alike) == 1:
            return list(alike)
    return []


def _sorted(folder: Path, problems: list[str]) -> list[Found]:
    found = sorted(below(folder), key=order)
    lost = [each for each in found if each.kind == "lost"]
    problems += [f"{each.path}: cannot be read: {each.reason}" for each in lost[:FEW]]
    return found


def _stem(found: Found) -> str:
    return composed(str(PurePosixPath(*found.names).with_suffix("")))


def _without(stem: str, endings: Sequence[str]) -> str:
    return next((stem.removesuffix(ending) for ending in endings if stem.endswith(ending)), stem)


def _add(found: Files, name: str, path: Path, problems: list[str]) -> None:
    if name in found:
        problems.append(f"{path} and {found[name].name} are both called {shown(name)!r}. Keep one of them")
    found[name] = path


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(shown(name) for name in names[:FEW]) + more
