"""Encoded images to uint8 arrays, on all cores: Pillow gives up the interpreter lock while it decodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerlink.config.image_size import ImageSize, sides
from layerlink.errors import LayerlinkError
from layerlink.optional import need

Pixels = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""The decoders that are tried for every image: each further one is code that a damaged file could reach."""

MOST_PIXELS = 89_000_000
"""That an image may say it has: three bytes each are taken when it is decoded, in up to eight threads."""

# Enough images a piece of work that handing it out costs nothing, few enough that the cores end together.
_CHUNK = 128
_PIECES = 4  # at least, for every thread


class BadImageError(LayerlinkError):
    """One image that cannot be used. The others can, so it may be left out where the user says so (``skip_bad``)."""


@dataclass(frozen=True)
class Decoded:
    """What became of a number of encoded images.

    Args:
        pixels: (N, 3, height, width) uint8, of the images that could be decoded, in order.
        kept: (N,) int64, their indices.
        bad: why each of the others could not be.
    """

    pixels: Pixels
    kept: NDArray[np.int64]
    bad: tuple[str, ...] = ()


@contextmanager
def opened(
    data: bytes, where: str, formats: tuple[str, ...] = FORMATS, most_pixels: int = MOST_PIXELS
) -> Iterator[Any]:
    """The Pillow image in ``data``; whatever goes wrong with its bytes inside the block is told with ``where``.

    Args:
        data: an encoded image.
        where: the file, and the row in it.
        formats: Pillow's names of the decoders that are tried.
        most_pixels: that the image may say it has.

    Raises:
        BadImageError: where the bytes are no image that Pillow can decode, or it is too large.
        LayerlinkError: where Pillow is missing.
    """
    pillow: Any = need("PIL.Image", "images", "reading images")
    if (pillow.MAX_IMAGE_PIXELS or most_pixels) < most_pixels:
        pillow.MAX_IMAGE_PIXELS = most_pixels  # Pillow's own limit, beyond which it warns, goes by the user's
    try:
        with pillow.open(BytesIO(data), formats=formats) as image:
            if image.width * image.height > most_pixels:
                raise BadImageError(
                    f"{where}: {image.width:,}x{image.height:,} pixels are more than {most_pixels:,}. Raise "
                    "data.most_pixels, scale the image, or leave such images out with skip_bad."
                )
            yield image
    except (LayerlinkError, MemoryError):
        raise
    except Exception as error:  # decoders meet damage in many ways, and Pillow lists no common base of them
        raise BadImageError(
            f"{where}: expected a {', '.join(formats)} image; got {len(data):,} bytes that do not decode "
            f"({type(error).__name__}: {error}). Replace the image, or leave such images out with skip_bad."
        ) from error


def decode_all(
    count: int, size: ImageSize, decode: Callable[[int], Pixels], *, skip_bad: bool = False, channels: int = 3
) -> Decoded:
    """Decodes ``count`` images in threads.

    Args:
        count: how many images.
        size: pixels of each, of a square or (height, width).
        decode: the image at an index as (height, width, channels) uint8; called from several threads.
        skip_bad: leave images out for which ``decode`` raises ``BadImageError``.
        channels: of an image; 3 of colours.

    Raises:
        LayerlinkError: what ``decode`` raises, for the earliest index that fails; also with ``skip_bad`` where not
            a single image is left.
    """
    pixels = np.empty((count, *sides(size), channels), dtype=np.uint8)
    bad: dict[int, BadImageError] = {}

    def fill(start: int) -> None:
        for index in range(start, min(start + chunk, count)):
            try:
                pixels[index] = decode(index)
            except BadImageError as error:
                if not skip_bad:
                    raise
                bad[index] = error

    threads = min(8, os.cpu_count() or 1)
    chunk = max(1, min(_CHUNK, count // (threads * _PIECES)))
    with ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            for _ in pool.map(fill, range(0, count, chunk)):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if bad and len(bad) == count:
        raise bad[0]
    kept = np.array([index for index in range(count) if index not in bad], dtype=np.int64)
    pixels = pixels[kept] if bad else pixels
    return Decoded(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), kept, tuple(str(bad[i]) for i in sorted(bad)))
