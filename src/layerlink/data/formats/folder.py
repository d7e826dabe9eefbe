"""A folder of class folders: ``<class>/*`` below ``train``, ``val`` and ``test``, or only ``<class>/*``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layerlink.config.image_size import ImageSize, plain, shown, sides
from layerlink.data.cache import cached
from layerlink.data.formats.decode import FORMATS, MOST_PIXELS, BadImageError, Decoded, Pixels, decode_all, opened
from layerlink.data.formats.folder_parts import ACCEPTED, Part, Parts, find_parts
from layerlink.data.formats.folder_tree import ENDINGS
from layerlink.data.formats.rgb import upright_rgb
from layerlink.data.images import ImageSet, Source
from layerlink.data.splits import hold_out
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.inside import regular
from layerlink.files.paths import expanded
from layerlink.optional import need

# Beyond this, scaling the shorter side up would make the longer one fill the memory.
_MAX_ASPECT = 50

# Of the formats that hold several images, those where the first one is not known to be what is meant.
_SEVERAL = ("AVIF", "GIF", "TIFF")
_MOST_BYTES = 2**30  # of an image's file


def load_folder(
    root: Path | None,
    *,
    size: ImageSize | None = None,
    download: bool = False,
    cache: Path | None = None,
    skip_bad: bool = False,
    most_pixels: int = MOST_PIXELS,
) -> Source:
    """The images below ``root`` as RGB: train, validation and test of shape (N, 3, height, width).

    ``root/train/<class>/`` holds the training images, ``root/val/<class>/`` (``valid``, ``validation``) those to
    select on, ``root/test/<class>/`` the test images; these names in any case. Without a ``val`` folder there is no
    validation part. Without a ``test`` folder, or where the class folders stand in ``root`` itself, a fifth of the
    training images (rounded down) is kept apart as the test set by a fixed stratified rule (``splits.hold_out``) that
    no recipe's seed changes. Folders of these names are classes where they hold images themselves and other folders
    stand beside them.

    Images at any depth inside a class folder are of that class. Classes and files are taken in the order of their
    names, in Unicode's composed form (NFC); what begins with a dot is hidden. ``Source.notes`` says what is used as
    what, ``Source.warnings`` which images are not read.

    An image is turned upright as its EXIF orientation says and made RGB (transparency is dropped); it is
    scaled to just cover ``size`` (bilinear, antialiased) and the centre is cut out. The result is
    kept in the cache.

    Args:
        root: the folder.
        size: pixels to bring every image to, of a square or (height, width), >= 1; None where all the images are
            square and of one size already.
        download: not used; there is nothing to fetch.
        cache: the cache's folder; None for the default.
        skip_bad: leave images out that cannot be used; by default the first such image is an error.
        most_pixels: that an image may have; of a larger one nothing is decoded.

    Raises:
        UsageError: where ``root`` is not given or holds no class folders, or ``size`` is needed or below 1.
        LayerlinkError: where a class is empty, the classes of a split are others than those of ``train``, a link leads
            nowhere, or an image does not decode.
    """
    if root is None:
        raise UsageError(f"folder needs root, a folder. {ACCEPTED}")
    root = expanded(root)
    if size is not None and min(sides(size)) < 1:
        raise UsageError(f"folder: size must be at least 1 pixel; got {plain(size)}")
    if not root.is_dir():
        raise UsageError(f"folder: root {str(root)!r} {'is a file' if root.exists() else 'does not exist'}. {ACCEPTED}")
    parts = find_parts(root)
    files = [file for part in parts.named.values() for file in part.files]
    build = partial(_read, parts, size, skip_bad, most_pixels)
    settings: dict[str, Any] = {
        "size": None if size is None else plain(size),
        "skip bad": skip_bad,
        "classes": parts.train.classes,
    }
    settings |= {name: part.folder.name for name, part in parts.named.items()}
    settings |= {} if most_pixels == MOST_PIXELS else {"most pixels": most_pixels}
    source = cached(build, name="folder", root=root, files=files, settings=json.dumps(settings), cache=cache)
    return replace(source, notes=parts.notes, warnings=parts.warnings)


def _read(parts: Parts, size: ImageSize | None, skip_bad: bool, most_pixels: int) -> Source:
    train = parts.train
    if parts.test is None and len(train.files) < 5:
        raise UsageError(
            f"{train.folder}: expected at least 5 images, a fifth to be kept apart as the test set; "
            f"got {len(train.files)}. Add images, or a folder test/ beside train/."
        )
    side = size if size is not None else _first_side(train.files, skip_bad, most_pixels)
    found = {
        name: decode_all(len(part.files), side, partial(_nth, part, side, size is None, most_pixels), skip_bad=skip_bad)
        for name, part in parts.named.items()
    }
    images = {name: _image_set(part, found[name]) for name, part in parts.named.items()}
    bad = tuple(reason for decoded in found.values() for reason in decoded.bad)
    if parts.test is None:
        count = len(images["train"])
        if count < 5:
            raise LayerlinkError(
                f"{train.folder}: {len(train.files) - count} of {len(train.files)} images were left out by skip_bad, "
                f"and {count} are too few to keep a fifth apart as the test set. {found['train'].bad[0]}"
            )
        images["train"], images["test"] = hold_out(images["train"], count // 5)
    return Source(images["train"], images["test"], bad, images.get("validation"))


def _nth(part: Part, side: ImageSize, as_is: bool, most_pixels: int, index: int) -> Pixels:
    return decode_file(part.files[index], side, as_is, most_pixels)


def _image_set(part: Part, found: Decoded) -> ImageSet:
    labels = torch.tensor(part.labels, dtype=torch.int64)[torch.from_numpy(found.kept)]
    return ImageSet(torch.from_numpy(found.pixels), labels, part.classes)


def read_image_bytes(path: Path) -> bytes:
    """An image's file, where it is a regular one of a possible size.

    Raises:
        LayerlinkError: elsewhere.
    """
    try:
        return regular(path, most=_MOST_BYTES).read_bytes()
    except OSError as error:
        # Not a bad image: the next time it may be there, and a cache without it would not tell.
        raise LayerlinkError(f"{path}: cannot be read ({error}).") from error


def _formats(path: Path) -> tuple[str, ...]:
    """The decoders that a file may reach: those of every image, and the one that its own ending names."""
    return tuple(dict.fromkeys((*FORMATS, ENDINGS[path.suffix.lower()])))


def _first_side(files: Sequence[Path], skip_bad: bool, most_pixels: int) -> int:
    """The width of the first image; with ``skip_bad``, of the first one that can be read."""
    for path in files[:-1] if skip_bad else ():
        with suppress(BadImageError), opened(read_image_bytes(path), str(path), _formats(path), most_pixels) as image:
            return int(image.width)
    path = files[-1] if skip_bad else files[0]
    with opened(read_image_bytes(path), str(path), _formats(path), most_pixels) as image:
        return int(image.width)


def decode_file(path: Path, size: ImageSize, as_is: bool, most_pixels: int) -> Pixels:
    """An image of a folder: upright RGB, scaled to just cover ``size``, the centre cut out.

    Args:
        path: of the file.
        size: in pixels, of a square or (height, width).
        as_is: refuse images of another size.
        most_pixels: that the image may have.

    Raises:
        BadImageError: where it cannot be used.
        LayerlinkError: where it cannot be read.
    """
    return decode_sized(path, size, as_is, most_pixels)[0]


def decode_sized(path: Path, size: ImageSize, as_is: bool, most_pixels: int) -> tuple[Pixels, tuple[int, int]]:
    """As ``decode_file``, and the height and width of the image as it was."""
    with opened(read_image_bytes(path), str(path), _formats(path), most_pixels) as image:
        frames = getattr(image, "n_frames", 1) if image.format in _SEVERAL else 1
        if frames > 1:
            raise BadImageError(
                f"{path}: expected one image; got {frames} in one {image.format} file. Keep one of them, or leave such "
                "files out with skip_bad."
            )
        if as_is and image.size != sides(size)[::-1]:
            raise UsageError(
                f"{path}: without size, expected every image to be {shown(size)}, square as wide as the first one; "
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
        whole = upright_rgb(image)
        return np.asarray(_fit(whole, size), dtype=np.uint8), (whole.height, whole.width)


def _fit(whole: Any, size: ImageSize) -> Any:
    pillow = need("PIL.Image", "images", "reading images")
    height, width = sides(size)
    covering, (top, left) = cover((whole.height, whole.width), size)
    if covering != (whole.height, whole.width):
        whole = whole.resize(covering[::-1], pillow.Resampling.BILINEAR)
    return whole if covering == (height, width) else whole.crop((left, top, left + width, top + height))


def cover(whole: tuple[int, int], size: ImageSize) -> tuple[tuple[int, int], tuple[int, int]]:
    """How an image is scaled to just cover a size.

    Args:
        whole: its height and width.
        size: to be covered.

    Returns:
        Height and width that it is scaled to; where in that, from the top and the left, the size is cut out.

    >>> cover((200, 300), (96, 128))
    ((96, 144), (0, 8))
    """
    (high, wide), (height, width) = whole, sides(size)
    by_height = height * wide >= width * high
    scaled = (height, height * wide // high) if by_height else (width * high // wide, width)
    return scaled, ((scaled[0] - height) // 2, (scaled[1] - width) // 2)
