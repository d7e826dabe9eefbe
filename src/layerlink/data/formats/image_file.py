"""The file of one image: its bytes, and the decoders that it may reach."""

from __future__ import annotations

from pathlib import Path

from layerlink.data.formats.decode import FORMATS
from layerlink.data.formats.folder_tree import ENDINGS
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
