"""Encoded images on disk: how many there are, and the bytes of each."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from layerlink.data.formats.decode import FORMATS
from layerlink.data.formats.image_file import bytes_of, formats_of


class Pictures(ABC):
    """Encoded images by number; pickled or forked into the processes that decode."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def read(self, index: int) -> bytes:
        """The encoded image at an index.

        Raises:
            LayerlinkError: where it cannot be read.
        """

    @abstractmethod
    def where(self, index: int) -> str:
        """The file of an image and the place in it, for messages."""

    def formats(self, index: int) -> tuple[str, ...]:
        """Pillow's names of the decoders that an image may reach."""
        del index
        return FORMATS

    @abstractmethod
    def checksum(self) -> int:
        """A CRC-32 of what the images are known by; their bytes are not read for it."""


class PictureFiles(Pictures):
    """A file an image.

    Args:
        files: their paths. Kept as one string: a million path objects would be copied into every process.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        encoded = [str(path).encode("utf-8", "surrogateescape") for path in files]
        self.ends = np.cumsum([len(it) for it in encoded], dtype=np.int64)
        self.names = b"".join(encoded)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.ends)

    def path(self, index: int) -> Path:
        """Of the file at an index."""
        start = 0 if index == 0 else int(self.ends[index - 1])
        return Path(self.names[start : int(self.ends[index])].decode("utf-8", "surrogateescape"))

    def read(self, index: int) -> bytes:
        """The file's bytes."""
        return bytes_of(self.path(index))

    def where(self, index: int) -> str:
        """Its path."""
        return str(self.path(index))

    def formats(self, index: int) -> tuple[str, ...]:
        """Those of every image, and the one that its own ending names."""
        return formats_of(self.path(index))

    def checksum(self) -> int:
        """Of sizes and last names."""
        crc = 0
        for index in range(len(self)):
            path = self.path(index)
            crc = zlib.crc32(f"{path.parent.name}/{path.name} {path.stat().st_size}\n".encode(errors="replace"), crc)
        return crc


class JoinedPictures(Pictures):
    """Pictures of two kinds, one after the other.

    Args:
        parts: of which each has images.
    """

    def __init__(self, parts: Sequence[Pictures]) -> None:
        self.parts = tuple(parts)
        self.ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def _place(self, index: int) -> tuple[Pictures, int]:
        part = int(np.searchsorted(self.ends, index, side="right"))
        return self.parts[part], index - (int(self.ends[part - 1]) if part else 0)

    def read(self, index: int) -> bytes:
        """As of the part that holds it."""
        part, place = self._place(index)
        return part.read(place)

    def where(self, index: int) -> str:
        """The same."""
        part, place = self._place(index)
        return part.where(place)

    def formats(self, index: int) -> tuple[str, ...]:
        """The same."""
        part, place = self._place(index)
        return part.formats(place)

    def checksum(self) -> int:
        """Of all parts."""
        return zlib.crc32(str([part.checksum() for part in self.parts]).encode())
