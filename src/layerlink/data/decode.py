"""Encoded images to uint8 arrays, on all cores: Pillow gives up the interpreter lock while it decodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerlink.data.extras import need
from layerlink.errors import LayerlinkError

Pixels = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""The only decoders that are tried: every further one is code that a damaged file could reach."""

# Enough images a piece of work that handing it out costs nothing, few enough that the cores end together.
_CHUNK = 128


@contextmanager
def opened(data: bytes, where: str) -> Iterator[Any]:
    """The Pillow image in ``data``; whatever goes wrong with its bytes inside the block is told with ``where``.

    Raises:
        LayerlinkError: where the bytes are no image that Pillow can decode, or Pillow is missing.
    """
    pillow = need("PIL.Image", "images", "reading images")
    try:
        with pillow.open(BytesIO(data), formats=FORMATS) as image:
            yield image
    except LayerlinkError:
        raise
    except Exception as error:  # decoders meet damage in many ways, and Pillow lists no common base of them
        raise LayerlinkError(
            f"{where}: expected a {', '.join(FORMATS)} image; got {len(data):,} bytes that do not decode "
            f"({type(error).__name__}: {error}). Replace the image or leave it out."
        ) from error


def decode_all(count: int, size: int, decode: Callable[[int], Pixels]) -> Pixels:
    """Decodes ``count`` images in threads.

    Args:
        count: how many images.
        size: height and width of each.
        decode: the image at an index as (size, size, 3) uint8; called from several threads.

    Returns:
        (count, 3, size, size) uint8.

    Raises:
        LayerlinkError: what ``decode`` raises, for the earliest index that fails.
    """
    pixels = np.empty((count, size, size, 3), dtype=np.uint8)

    def fill(start: int) -> None:
        for index in range(start, min(start + _CHUNK, count)):
            pixels[index] = decode(index)

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        try:
            for _ in pool.map(fill, range(0, count, _CHUNK)):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
