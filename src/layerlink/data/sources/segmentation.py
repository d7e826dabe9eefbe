"""Images with maps of labels, from folders as VOC, Cityscapes, CamVid and many others lay them out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layerlink.config.image_size import ImageSize, plain, sides, size_of
from layerlink.data.cache import cached, remembered
from layerlink.data.folders.given import folder_given
from layerlink.data.folders.layout import ACCEPTED, Layout, Pairs, find_layout
from layerlink.data.folders.map_classes import Classes, choose_classes
from layerlink.data.folders.said import all_of
from layerlink.data.formats.decode import MOST_PIXELS, Decoded, Pixels, decode_all
from layerlink.data.formats.image_file import decode_sized
from layerlink.data.formats.label_map import ColourMapError, check_size, fit_map, read_label_map
from layerlink.data.images import ImageSet, Source
from layerlink.data.splits import hold_out
from layerlink.data.stream.images import Streaming
from layerlink.data.stream.pairs import CHANNELS, look_at, stream_pairs
from layerlink.errors import LayerlinkError, UsageError


def load_segmentation(
    root: Path | None,
    *,
    size: ImageSize | None = None,
    download: bool = False,
    cache: Path | None = None,
    skip_bad: bool = False,
    most_pixels: int = MOST_PIXELS,
    classes: int | Sequence[str] | Mapping[str, int | Sequence[int]] | None = None,
    images: str | None = None,
    labels: str | None = None,
    ignore: int | None = 255,
    streaming: Streaming | None = None,
) -> Source:
    """The images below ``root`` as RGB (N, 3, height, width), each with its map of labels (N, height, width).

    How the folder may be laid out: ``folders.layout.find_layout``. An image and its map, a grey or palette PNG of
    1 to 16 bits, have one name and one size. Both are scaled to just cover ``size`` and the centre is cut out; images
    are bilinear and antialiased, maps take the nearest pixel. The result is kept in the cache. Maps are uint8 where
    that holds every class and ``ignore``.

    Without a part to test on, a fifth of the training images (rounded down) is kept apart by a fixed rule that no seed
    changes (``splits.hold_out``).

    Args:
        root: the folder.
        size: pixels to bring every image to, of a square or (height, width); None where all are of one size already.
        download: not used; there is nothing to fetch.
        cache: the cache's folder; None for the default.
        skip_bad: leave images out that cannot be read, or whose map cannot or is of another size.
        most_pixels: that an image or a map may have.
        classes: their names, in the order of their numbers in the maps; how many there are; or by name the number, or
            numbers, that each has in the maps: others are ignored then. None: the lines of ``classes.txt`` in
            ``root``; of Cityscapes' ``labelIds`` the 19 that it evaluates; elsewhere as many as the maps number.
        images: what the folder of images is called; None: images, JPEGImages, leftImg8bit or the like.
        labels: the same of maps: labels, masks, annotations, SegmentationClass, gtFine or the like.
        ignore: the number of pixels that do not count; None: every one counts.
        streaming: from how many bytes on images and maps are read when a batch asks for them; None: all lie in memory.

    Raises:
        UsageError: where ``root`` is not given or is laid out otherwise, or arguments are impossible.
        LayerlinkError: where an image has no map, a map no image, another size, colours or numbers of no class, or a
            file does not decode; all at once.
    """
    root = folder_given("segmentation", root, size, ACCEPTED)
    layout = find_layout(root, images, labels)
    known = choose_classes(classes, root, ignore, city_ids=layout.city_ids)
    train = layout.parts["train"]
    if "test" not in layout.parts and len(train.images) < 5:
        raise UsageError(
            f"{train.where}: expected at least 5 images, a fifth to be kept apart as the test set; got "
            f"{len(train.images)}. Add images, or a part to test on"
        )
    files = [*layout.lists, *(path for pairs in layout.parts.values() for path in (*pairs.images, *pairs.labels))]
    each = {role: len(pairs.images) for role, pairs in layout.parts.items()}
    if streaming is not None and size is not None and streaming.needed(sum(each.values()), size, CHANNELS):
        look = partial(look_at, layout.parts, size, known, skip_bad=skip_bad, most_pixels=most_pixels)
        facts = json.dumps([plain(size) if skip_bad else None, most_pixels, known.facts(), each])
        found = remembered(look, name="maps", root=root, files=files, settings=facts, cache=cache)
        source = stream_pairs(layout.parts, found, size, streaming, known, most_pixels=most_pixels)
        return _said(source, layout, known)
    build = partial(_read, layout, size, skip_bad, most_pixels, known)
    settings = {
        "size": None if size is None else plain(size),
        "skip bad": skip_bad,
        "most pixels": most_pixels,
        "classes": known.facts(),
        "parts": {role: [str(path) for path in pairs.images[:1]] for role, pairs in layout.parts.items()},
    }
    source = cached(build, name="segmentation", root=root, files=files, settings=json.dumps(settings), cache=cache)
    return _said(source, layout, known)


def _said(source: Source, layout: Layout, classes: Classes) -> Source:
    """The source with what is to be said of the folder and its classes."""
    notes = (*layout.notes, *classes.notes(source.train.classes), *source.notes)
    return replace(source, notes=notes, warnings=layout.warnings)


@dataclass
class _Part:
    """Maps of one part while its images are decoded, and what is wrong with them."""

    pairs: Pairs
    size: ImageSize
    as_is: bool
    most_pixels: int
    maps: Any = None
    wide: bool = False  # a number is beyond a byte
    colours: dict[int, str] = field(default_factory=dict)  # by place: threads meet them in any order
    numbers: dict[int, list[Path]] = field(default_factory=dict)  # of each the first maps that have it

    def decode(self, *, skip_bad: bool) -> Decoded:
        self.maps = np.zeros((len(self.pairs.images), *sides(self.size)), np.uint16 if self.wide else np.uint8)
        self.numbers.clear()
        self.colours.clear()
        found = decode_all(len(self.pairs.images), self.size, self._nth, skip_bad=True)
        if found.bad and not skip_bad:
            raise LayerlinkError(all_of(found.bad, f"{self.pairs.where}: {len(found.bad)} images or maps are bad"))
        if not self.wide and max(self.numbers, default=0) > 255:
            self.wide = True
            return self.decode(skip_bad=skip_bad)
        return found

    def _nth(self, index: int) -> Pixels:
        path = self.pairs.labels[index]
        pixels, whole = decode_sized(self.pairs.images[index], self.size, self.as_is, self.most_pixels)
        try:
            values = read_label_map(path, self.most_pixels)
        except ColourMapError as error:
            self.colours[index] = str(error)
            return pixels
        check_size(path, values, whole)
        for number in np.unique(values).tolist():
            self.numbers.setdefault(number, []).append(path)
        # Numbers beyond a byte are seen above, and all is read again for them.
        self.maps[index] = fit_map(values if self.wide else values.astype(np.uint8), self.size)
        return pixels


def _read(layout: Layout, size: ImageSize | None, skip_bad: bool, most_pixels: int, classes: Classes) -> Source:
    train = layout.parts["train"]
    side = _first_size(train, most_pixels) if size is None else size
    parts = {role: _Part(pairs, side, size is None, most_pixels) for role, pairs in layout.parts.items()}
    found = {role: part.decode(skip_bad=skip_bad) for role, part in parts.items()}
    problems = [part.colours[index] for part in parts.values() for index in sorted(part.colours)]
    if problems:
        raise LayerlinkError(all_of(problems, f"{len(problems)} maps hold colours"))
    numbers: dict[int, list[Path]] = {}
    for part in parts.values():
        for number, paths in part.numbers.items():
            numbers.setdefault(number, []).extend(sorted(paths))
    table, names = classes.table(numbers)
    sets = {}
    for role, part in parts.items():
        maps = torch.from_numpy(table[part.maps[found[role].kept]])
        sets[role] = ImageSet(torch.from_numpy(found[role].pixels), maps, names)
        if classes.ignore is not None and bool((maps == classes.ignore).all()):
            raise LayerlinkError(classes.none_counts(part.pairs.where, len(maps)))
        part.maps = None
    bad = tuple(reason for decoded in found.values() for reason in decoded.bad)
    if "test" not in sets:
        sets["train"], sets["test"] = hold_out(sets["train"], max(len(sets["train"]) // 5, 1))
    return Source(sets["train"], sets["test"], bad, sets.get("validation"))


def _first_size(pairs: Pairs, most_pixels: int) -> ImageSize:
    _, whole = decode_sized(pairs.images[0], 1, False, most_pixels)
    return size_of(*whole)
