"""Images of a page, in rows and columns: PNG in the page itself, files beside the Markdown."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Still:
    """One image.

    Args:
        pixels: (H, W, 3) uint8.
        told: what is to be seen, for whoever does not see it.
    """

    pixels: Pixels
    told: str

    @property
    def png(self) -> bytes:
        """The image as a file."""
        height, width, _ = self.pixels.shape
        rows = np.concatenate([np.zeros((height, 1), np.uint8), self.pixels.reshape(height, -1)], axis=1)
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)

    @property
    def source(self) -> str:
        """The image as an address that holds it."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Stills:
    """Images side by side.

    Args:
        name: of the files beside the Markdown.
        columns: headings.
        rows: as many images each.
        legend: (red, green, blue) with what it stands for.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Still, ...], ...]
    legend: tuple[tuple[tuple[int, int, int], str], ...] = ()

    def file_name(self, row: int, column: int) -> str:
        """Of an image beside the Markdown."""
        return f"{self.name}-{row + 1}-{column + 1}.png"


def hexadecimal(colour: tuple[int, int, int]) -> str:
    """A colour as style sheets write it.

    >>> hexadecimal((255, 0, 16))
    '#ff0010'
    """
    return "#" + "".join(f"{value:02x}" for value in colour)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
