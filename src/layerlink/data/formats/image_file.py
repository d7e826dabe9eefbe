"""The file of one image: its bytes, the decoders that it may reach, its pixels."""

from __future__ import annotations

from pathlib import Path

from layerlink.config.image_size import ImageSize
from layerlink.data.folders.tree import ENDINGS
from layerlink.data.formats.decode import FORMATS, Pixels
from layerlink.data.formats.fitted import decode_fitted
from layerlink.errors import LayerlinkError
from layerlink.files.inside import regular

_MOST_BYTES = 2**30


def bytes_of(path: Path) -> bytes:
    """What the file of an image holds.

    Raises:
        LayerlinkError: where it cannot be read.
    """
    try:
        return regular(path, most=_MOST_BYTES).read_bytes()
    except OSError as error:
        # Not a bad image: the next time it may be there, and a cache without it would not tell.
        raise LayerlinkError(f"{path}: cannot be read ({error}).") from error


def formats_of(path: Path) -> tuple[str, ...]:
    """The decoders that a file may reach: those of every image, and the one that its own ending names."""
    return tuple(dict.fromkeys((*FORMATS, ENDINGS[path.suffix.lower()])))


def decode_file(path: Path, size: ImageSize, as_is: bool, most_pixels: int) -> Pixels:
    """The image of a file: upright RGB, scaled to just cover ``size``, the centre cut out.

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
    return decode_fitted(bytes_of(path), str(path), formats_of(path), size, as_is, most_pixels)
