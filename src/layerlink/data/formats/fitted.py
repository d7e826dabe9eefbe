"""An encoded image brought to a size."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerlink.config.image_size import ImageSize, shown, sides
from layerlink.data.formats.decode import BadImageError, Pixels, opened
from layerlink.data.formats.rgb import upright_rgb
from layerlink.errors import UsageError
from layerlink.optional import need

# Beyond this, scaling the shorter side up would make the longer one fill the memory.
_MAX_ASPECT = 50

# Of the formats that hold several images, those where the first one is not known to be what is meant.
_SEVERAL = ("AVIF", "GIF", "TIFF")


def decode_fitted(
    data: bytes, where: str, formats: tuple[str, ...], size: ImageSize, as_is: bool, most_pixels: int
) -> tuple[Pixels, tuple[int, int]]:
    """An image as upright RGB, scaled to just cover ``size``, the centre cut out.

    Args:
        data: an encoded image.
        where: the file, and the place in it, for messages.
        formats: Pillow's names of the decoders that are tried.
        size: in pixels, of a square or (height, width).
        as_is: refuse images of another size.
        most_pixels: that the image may have.

    Returns:
        (height, width, 3) uint8; height and width of the image as it was.

    Raises:
        BadImageError: where it cannot be used.
        UsageError: where it is of another size than ``as_is`` allows.
    """
    with opened(data, where, formats, most_pixels) as image:
        frames = getattr(image, "n_frames", 1) if image.format in _SEVERAL else 1
        if frames > 1:
            raise BadImageError(
                f"{where}: expected one image; got {frames} in one {image.format} file. Keep one of them, or leave "
                "such files out with skip_bad."
            )
        if as_is and image.size != sides(size)[::-1]:
            raise UsageError(
                f"{where}: without size, expected every image to be {shown(size)}, square as wide as the first one; "
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
