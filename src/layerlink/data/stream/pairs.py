"""Folders of images with maps of labels that do not fit into memory: every map is looked at once, none is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from layerlink.config.image_size import ImageSize
from layerlink.data.folders.layout import Pairs
from layerlink.data.folders.map_classes import Classes
from layerlink.data.folders.said import all_of
from layerlink.data.formats.decode import BadImageError, opened
from layerlink.data.formats.fitted import decode_fitted
from layerlink.data.formats.label_map import ColourMapError, check_size, read_label_map
from layerlink.data.images import Source
from layerlink.data.splits import hold_out
from layerlink.data.stream.images import Streaming
from layerlink.data.stream.maps import PairDecoder, StreamedPairs
from layerlink.data.stream.pictures import PictureFiles
from layerlink.data.stream.pixels import StreamedPixels
from layerlink.data.stream.source import why_streamed
from layerlink.errors import LayerlinkError

CHANNELS = 4  # bytes a pixel that an image and its map would take in memory
_CHUNK = 16  # maps a piece of work of a thread


@dataclass
class _Seen:
    """What was seen in the pairs of one part.

    Args:
        pairs: which.
        most_pixels: that an image or a map may have.
        bad: why pairs cannot be used, by their place.
        colours: the same of maps that hold colours.
        numbers: of each the maps that have it.
    """

    pairs: Pairs
    most_pixels: int
    bad: dict[int, str] = field(default_factory=dict)
    colours: dict[int, str] = field(default_factory=dict)
    numbers: dict[int, list[Path]] = field(default_factory=dict)

    def look(self, size: ImageSize | None) -> None:
        """Read every map.

        Args:
            size: that the images are decoded at, to see whether they can be; None: of them only the size is read.
        """
        images = PictureFiles(self.pairs.images)

        def nth(index: int) -> None:
            path = self.pairs.labels[index]
            try:
                given = images.read(index), images.where(index), images.formats(index)
                values = read_label_map(path, self.most_pixels)
                if size is not None or values.shape != self._lying(*given):  # it may be turned when it is decoded
                    check_size(path, values, decode_fitted(*given, size or 1, False, self.most_pixels)[1])
            except BadImageError as error:
                self.bad[index] = str(error)
                return
            except ColourMapError as error:
                self.colours[index] = str(error)
                return
            for number in np.flatnonzero(np.bincount(values.ravel())).tolist():
                self.numbers.setdefault(number, []).append(path)

        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            for _ in pool.map(nth, range(len(images)), chunksize=_CHUNK):
                pass

    def _lying(self, data: bytes, where: str, formats: tuple[str, ...]) -> tuple[int, int]:
        """Height and width as an image's head says."""
        with opened(data, where, formats, self.most_pixels) as image:
            return image.height, image.width

    @property
    def reasons(self) -> list[str]:
        """Why the others cannot, in order."""
        return [self.bad[index] for index in sorted(self.bad)]


def look_at(
    parts: Mapping[str, Pairs], size: ImageSize, classes: Classes, *, skip_bad: bool, most_pixels: int
) -> dict[str, Any]:
    """What is to be known of pairs before they are streamed, for JSON: numbers in maps, and bad pairs.

    Args:
        parts: by what they are used as.
        size: height and width to bring every image and map to, in pixels.
        classes: what is known of them.
        skip_bad: leave pairs out that cannot be used; each image is decoded once for that.
        most_pixels: that an image or a map may have.

    Raises:
        LayerlinkError: where a map cannot be used, is of another size than its image, or holds colours or numbers of no
            class; all at once. An image that does not decode is told when a batch asks for it.
    """
    seen = {role: _Seen(pairs, most_pixels) for role, pairs in parts.items()}
    for part in seen.values():
        part.look(size if skip_bad else None)
        if part.bad and (not skip_bad or len(part.bad) == len(part.pairs.images)):
            raise LayerlinkError(all_of(part.reasons, f"{part.pairs.where}: {len(part.bad)} images or maps are bad"))
    colours = [part.colours[index] for part in seen.values() for index in sorted(part.colours)]
    if colours:
        raise LayerlinkError(all_of(colours, f"{len(colours)} maps hold colours"))
    numbers: dict[int, list[Path]] = {}
    for part in seen.values():
        for number, paths in part.numbers.items():
            numbers.setdefault(number, []).extend(sorted(paths))  # threads met them in any order
    table, _ = classes.table(numbers)
    for part in seen.values():
        if classes.ignore is not None and all(table[number] == classes.ignore for number in part.numbers):
            raise LayerlinkError(classes.none_counts(part.pairs.where, len(part.pairs.images) - len(part.bad)))
    return {
        role: {"bad": sorted(part.bad), "reasons": part.reasons, "numbers": sorted(part.numbers)}
        for role, part in seen.items()
    }


def stream_pairs(
    parts: Mapping[str, Pairs],
    found: Mapping[str, Any],
    size: ImageSize,
    streaming: Streaming,
    classes: Classes,
    *,
    most_pixels: int,
) -> Source:
    """The source of images with maps, neither of which stays in memory.

    Args:
        parts: by what they are used as; without a part to test on a fifth of ``train`` is kept apart.
        found: what ``look_at`` says of them.
        size: height and width to bring every image and map to, in pixels.
        streaming: how they are streamed.
        classes: what is known of them.
        most_pixels: that an image or a map may have.
    """
    table, names = classes.table({number: () for part in found.values() for number in part["numbers"]})
    sets = {}
    for role, pairs in parts.items():
        kept = np.setdiff1d(np.arange(len(pairs.images)), found[role]["bad"]).astype(np.int64)
        images, maps = (PictureFiles(files) for files in (pairs.images, pairs.labels))
        decoder = PairDecoder(images, size, most_pixels, maps=maps, table=table)
        sets[role] = StreamedPairs.of(StreamedPixels(decoder, kept, streaming.processes), names)
    if "test" not in sets:
        sets["train"], sets["test"] = hold_out(sets["train"], max(len(sets["train"]) // 5, 1))
    bad = tuple(reason for part in found.values() for reason in part["reasons"])
    note = why_streamed(sum(len(it.images) for it in parts.values()), size, streaming, "images with maps", CHANNELS)
    return Source(sets["train"], sets["test"], bad, sets.get("validation"), (note,))
