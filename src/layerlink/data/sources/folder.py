"""A folder of class folders: ``<class>/*`` below ``train``, ``val`` and ``test``, or only ``<class>/*``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from layerlink.config.image_size import ImageSize, plain
from layerlink.data.cache import cached
from layerlink.data.folders.given import folder_given
from layerlink.data.folders.parts import ACCEPTED, Part, Parts, find_parts
from layerlink.data.formats.decode import MOST_PIXELS, BadImageError, Decoded, Pixels, decode_all, opened
from layerlink.data.formats.image_file import bytes_of, decode_file, formats_of
from layerlink.data.images import ImageSet, Source
from layerlink.data.splits import hold_out
from layerlink.data.stream.images import Streaming
from layerlink.data.stream.pictures import PictureFiles
from layerlink.data.stream.source import Encoded, source_from
from layerlink.errors import LayerlinkError, UsageError


def load_folder(
    root: Path | None,
    *,
    size: ImageSize | None = None,
    download: bool = False,
    cache: Path | None = None,
    skip_bad: bool = False,
    most_pixels: int = MOST_PIXELS,
    streaming: Streaming | None = None,
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
        streaming: from how many bytes on images are read when a batch asks for them; None: all lie in memory.

    Raises:
        UsageError: where ``root`` is not given or holds no class folders, or ``size`` is needed or below 1.
        LayerlinkError: where a class is empty, the classes of a split are others than those of ``train``, a link leads
            nowhere, or an image does not decode.
    """
    root = folder_given("folder", root, size, ACCEPTED)
    parts = find_parts(root)
    files = [file for part in parts.named.values() for file in part.files]
    if streaming is not None and size is not None and streaming.needed(len(files), size):
        encoded = {name: Encoded(PictureFiles(part.files), part.labels) for name, part in parts.named.items()}
        source = source_from(
            *(encoded, parts.train.classes, size, streaming),
            skip_bad=skip_bad,
            most_pixels=most_pixels,
            where=f"folder: {root}",
        )
        return replace(source, notes=(*parts.notes, *source.notes), warnings=parts.warnings)
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


def _first_side(files: Sequence[Path], skip_bad: bool, most_pixels: int) -> int:
    """The width of the first image; with ``skip_bad``, of the first one that can be read."""
    for path in files[:-1] if skip_bad else ():
        with suppress(BadImageError), opened(bytes_of(path), str(path), formats_of(path), most_pixels) as image:
            return int(image.width)
    path = files[-1] if skip_bad else files[0]
    with opened(bytes_of(path), str(path), formats_of(path), most_pixels) as image:
        return int(image.width)
