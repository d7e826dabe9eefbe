"""An encoded image of any size as a square of a given one."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerlink.data.formats.decode import BadImageError, Pixels, opened
from layerlink.data.formats.rgb import upright_rgb
from layerlink.errors import UsageError
from layerlink.optional import need

# Beyond this, scaling the shorter side up would make the longer one fill the memory.
_MAX_ASPECT = 50

# Of the formats that hold several images, those where the first one is not known to be what is meant.
_SEVERAL = ("AVIF", "GIF", "TIFF")


def decode_square(
    data: bytes, where: str, formats: tuple[str, ...], side: int, as_is: bool, most_pixels: int
) -> Pixels:
    """An image as upright RGB, (side, side, 3) uint8: its shorter side scaled to ``side``, the centre cut out.

    Args:
        data: an encoded image.
        where: the file, and the place in it, for messages.
        formats: Pillow's names of the decoders that are tried.
        side: height and width, in pixels.
        as_is: refuse images of another size.
        most_pixels: that the image may have.

    Raises:
        BadImageError: where it cannot be used.
    """
    with opened(data, where, formats, most_pixels) as image:
        frames = getattr(image, "n_frames", 1) if image.format in _SEVERAL else 1
        if frames > 1:
            raise BadImageError(
                f"{where}: expected one image; got {frames} in one {image.format} file. Keep one of them, or leave "
                "such files out with skip_bad."
            )
        if as_is and image.size != (side, side):
            raise UsageError(
                f"{where}: without size, expected every image to be {side}x{side}, square as wide as the first one; "
                f"got {image.width}x{image.height}. Give size."
            )
        if max(image.size) > _MAX_ASPECT * min(image.size):
            raise BadImageError(
                f"{where}: expected sides of a ratio of at most {_MAX_ASPECT}; got {image.width}x{image.height}. "
                f"Crop the image, or leave such images out with skip_bad."
            )
        if image.mode.startswith(("I", "F")):
            raise BadImageError(
                f"{where}: expected 8 bits a channel; got mode {image.mode}. Convert the image, or leave such images "
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
