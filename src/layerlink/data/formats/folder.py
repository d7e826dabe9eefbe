"""A folder of class folders: ``train/<class>/*`` and ``test/<class>/*``, or only ``<class>/*``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layerlink.data.cache import cached
from layerlink.data.formats.decode import BadImageError, Decoded, Pixels, decode_all, opened
from layerlink.data.formats.rgb import upright_rgb
from layerlink.data.images import ImageSet, Source
from layerlink.data.splits import hold_out
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.paths import expanded
from layerlink.optional import need

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""Of the files that are read, in any case; all others are passed over."""

# Beyond this, scaling the shorter side up would make the longer one fill the memory.
_MAX_ASPECT = 50


@dataclass(frozen=True)
class _Part:
    """The files of one split, class after class, and the label of each."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


def load_folder(
    root: Path | None,
    *,
    size: int | None = None,
    download: bool = False,
    cache: Path | None = None,
    skip_bad: bool = False,
) -> Source:
    """The images below ``root`` as RGB: train and test of shape (N, 3, size, size).

    ``root/train/<class>/`` holds the training images, ``root/test/<class>/`` the test images. Without a
    ``test`` folder, or where the class folders stand in ``root`` itself, a fifth of the images (rounded
    down) is kept apart as the test set by a fixed stratified rule (``splits.hold_out``) that no recipe's
    seed changes. Classes and files are taken in the order of their names.

    An image is turned upright as its EXIF orientation says and made RGB (transparency is dropped); its
    shorter side is scaled to ``size`` (bilinear, antialiased) and the centre is cut out. The result is
    kept in the cache.

    Args:
        root: the folder.
        size: height and width to bring every image to, in pixels, >= 1; None where all the images are
            square and of one size already.
        download: not used; there is nothing to fetch.
        cache: the cache's folder; None for the default.
        skip_bad: leave images out that cannot be used; by default the first such image is an error.

    Raises:
        UsageError: where ``root`` is not given or holds no class folders, or ``size`` is needed or below 1.
        LayerlinkError: where a class is empty, the test classes are others than the training classes, or
            an image does not decode.
    """
    if root is None:
        raise UsageError(f"folder needs root, a folder. {_ACCEPTED}")
    root = expanded(root)
    if size is not None and size < 1:
        raise UsageError(f"folder: size must be at least 1 pixel; got {size}")
    if not root.is_dir():
        raise UsageError(
            f"folder: root {str(root)!r} {'is a file' if root.exists() else 'does not exist'}. {_ACCEPTED}"
        )
    train, test = _find_parts(root)
    files = [*train.files, *(test.files if test else ())]
    build = partial(_read, train, test, size, skip_bad)
    settings = f"size {size}, {'test folder' if test else 'a fifth'}{', skip bad' if skip_bad else ''}"
    return cached(build, name="folder", root=root, files=files, settings=settings, cache=cache)


_ACCEPTED = (
    f"Give a folder of train/<class>/ and test/<class>/, or of <class>/ alone, "
    f"with images that end in {', '.join(ENDINGS)}."
)


def _find_parts(root: Path) -> tuple[_Part, _Part | None]:
    if (root / "train").is_dir():
        train = _list(root / "train")
        test = _list(root / "test") if (root / "test").is_dir() else None
        if test and test.classes != train.classes:
            only = [
                f"only in {name}: {', '.join(sorted(here - there)[:5])}"
                for name, here, there in (
                    ("train", set(train.classes), set(test.classes)),
                    ("test", set(test.classes), set(train.classes)),
                )
                if here - there
            ]
            raise LayerlinkError(
                f"{root}: expected the same class folders in train and test; got {'; '.join(only)}. "
                f"Rename or remove them."
            )
        return train, test
    if (root / "test").is_dir():
        raise UsageError(f"folder: root {str(root)!r} holds test/ but no train/. {_ACCEPTED}")
    return _list(root), None


def _list(folder: Path) -> _Part:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise UsageError(f"{folder}: expected a folder for each class; got none. {_ACCEPTED}")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        own = sorted(
            path
            for path in (folder / name).iterdir()
            if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()
        )
        if not own:
            raise LayerlinkError(
                f"{folder / name}: expected images that end in {', '.join(ENDINGS)}; got none. "
                f"Put images there or remove the class folder."
            )
        files += own
        labels += [label] * len(own)
    return _Part(tuple(files), tuple(labels), tuple(names))


def _read(train: _Part, test: _Part | None, size: int | None, skip_bad: bool) -> Source:
    if test is None and len(train.files) < 5:
        raise UsageError(
            f"{train.files[0].parent.parent}: expected at least 5 images, a fifth to be kept apart as the test set; "
            f"got {len(train.files)}. Add images, or a folder test/ beside train/."
        )
    side = size if size is not None else _first_side(train.files, skip_bad)

    def decoded(part: _Part) -> Decoded:
        return decode_all(
            len(part.files), side, lambda index: _decode(part.files[index], side, size is None), skip_bad=skip_bad
        )

    found = decoded(train)
    images = _image_set(train, found)
    if test is None and len(images) < 5:
        raise LayerlinkError(
            f"{train.files[0].parent.parent}: {len(found.bad)} of {len(train.files)} images were left out by skip_bad, "
            f"and {len(images)} are too few to keep a fifth apart as the test set. {found.bad[0]}"
        )
    if test is None:
        return Source(*hold_out(images, len(images) // 5), found.bad)
    found_test = decoded(test)
    return Source(images, _image_set(test, found_test), found.bad + found_test.bad)


def _image_set(part: _Part, found: Decoded) -> ImageSet:
    labels = torch.tensor(part.labels, dtype=torch.int64)[torch.from_numpy(found.kept)]
    return ImageSet(torch.from_numpy(found.pixels), labels, part.classes)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        # Not a bad image: the next time it may be there, and a cache without it would not tell.
        raise LayerlinkError(f"{path}: cannot be read ({error}).") from error


def _first_side(files: Sequence[Path], skip_bad: bool) -> int:
    """The width of the first image; with ``skip_bad``, of the first one that can be read."""
    for path in files[:-1] if skip_bad else ():
        with suppress(BadImageError), opened(_bytes(path), str(path)) as image:
            return int(image.width)
    path = files[-1] if skip_bad else files[0]
    with opened(_bytes(path), str(path)) as image:
        return int(image.width)


def _decode(path: Path, side: int, as_is: bool) -> Pixels:
    with opened(_bytes(path), str(path)) as image:
        if as_is and image.size != (side, side):
            raise UsageError(
                f"{path}: without size, expected every image to be {side}x{side}, square as wide as the first one; "
                f"got {image.width}x{image.height}. Give size."
            )
        if max(image.size) > _MAX_ASPECT * min(image.size):
            raise BadImageError(
                f"{path}: expected sides of a ratio of at most {_MAX_ASPECT}; got {image.width}x{image.height}. "
                f"Crop the image, or leave such images out with skip_bad."
            )
        if image.mode.startswith(("I", "F")):
            raise BadImageError(
                f"{path}: expected 8 bits a channel; got mode {image.mode}. Convert the image, or leave such images "
                "out with skip_bad."
            )
        return np.asarray(_fit(image, side), dtype=np.uint8)


def _fit(image: Any, side: int) -> Any:
    pillow = need("PIL.Image", "images", "reading images")
    whole = upright_rgb(image)
    if whole.size == (side, side):
        return whole
    shorter = min(whole.size)
    width, height = (side * length // shorter for length in whole.size)
    scaled = whole.resize((width, height), pillow.Resampling.BILINEAR)
    left, top = (width - side) // 2, (height - side) // 2
    return scaled.crop((left, top, left + side, top + side))
