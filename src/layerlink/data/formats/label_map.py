"""Maps of labels from PNG files: one number a pixel, never colours."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerlink.config.image_size import ImageSize, sides
from layerlink.data.formats.decode import BadImageError, opened
from layerlink.data.formats.fitted import cover
from layerlink.data.formats.image_file import bytes_of
from layerlink.errors import LayerlinkError

Labels = NDArray[Any]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH_AT = 24  # in a PNG file, the byte that says how many bits a pixel has
_SPREAD_BY = {2: 85, 4: 17}  # what Pillow multiplies such grey values by, so that the largest is white


class ColourMapError(LayerlinkError):
    """A map that holds colours in place of numbers."""


def read_label_map(path: Path, most_pixels: int) -> Labels:
    """The numbers in a map: (H, W) uint8 or uint16.

    Grey of 1 to 16 bits holds them as they are; of a palette they are the places in it, and its colours do not count.

    Args:
        path: of a PNG file.
        most_pixels: that it may have.

    Raises:
        BadImageError: where it does not decode.
        ColourMapError: where it holds colours.
        LayerlinkError: where it cannot be read.
    """
    data = bytes_of(path)
    if data.startswith(_SIGNATURE) and not _is_whole(data):  # Pillow looks at no checksum of what it decompresses
        raise BadImageError(
            f"{path}: expected a PNG image; a checksum in it is wrong, or its end is missing. Replace the map, or "
            "leave such images out with skip_bad."
        )
    with opened(data, str(path), ("PNG",), most_pixels) as image:
        if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
            raise ColourMapError(
                f"{path}: expected one number a pixel, in a grey or a palette PNG; got colours (mode {image.mode}). "
                "Write each colour's class as its number, and save that in Pillow's mode L or P"
            )
        values = np.asarray(image)
    if image.mode == "L":
        values = values // _SPREAD_BY.get(data[_DEPTH_AT], 1)
    return values.astype(np.uint16 if image.mode.startswith("I") else np.uint8)


def check_size(path: Path, values: Labels, whole: tuple[int, int]) -> None:
    """Raise ``BadImageError`` where a map is of another size than its image.

    Args:
        path: of the map.
        values: what it holds.
        whole: height and width of the image.
    """
    if values.shape != whole:
        (high, wide), (height, width) = values.shape, whole
        raise BadImageError(
            f"{path}: expected a map of its image's size, {width}x{height}; got {wide}x{high}. Scale the map by "
            "the nearest pixel, or leave such images out with skip_bad"
        )


def _is_whole(data: bytes) -> bool:
    """Whether every piece of a PNG file has its checksum, up to the last."""
    place = len(_SIGNATURE)
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if kind == b"IEND":
            return True
        place = end + 4
    return False


def fit_map(values: Labels, size: ImageSize) -> Labels:
    """A map (H, W) scaled and cut as ``image_file.decode_file`` does with its image, by the nearest pixel."""
    (high, wide), (height, width) = values.shape, sides(size)
    covering, (top, left) = cover((high, wide), size)
    rows = ((np.arange(height) + top + 0.5) * high / covering[0]).astype(np.int64)
    columns = ((np.arange(width) + left + 0.5) * wide / covering[1]).astype(np.int64)
    found: Labels = values[rows[:, None], columns[None, :]]
    return found
