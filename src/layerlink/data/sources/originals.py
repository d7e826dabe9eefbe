"""The two original forms of CIFAR's files: pickled Python dictionaries, and binary records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layerlink.data.formats.decode import Pixels
from layerlink.data.formats.pickles import read_pickle
from layerlink.errors import LayerlinkError

_PIXELS = 3 * 32 * 32

Part = tuple[Pixels, NDArray[np.int64]]
"""images (N, 3, 32, 32) uint8 and labels (N,) int64."""


@dataclass(frozen=True)
class Original:
    """One original release of one set.

    Args:
        folder: its folder, in the archive and on disk.
        archive: its archive's file name.
        train: the files of the training images, in order.
        test: the file of the test images.
        names: the file of the class names.
        read: a file of images from its bytes and its name.
        read_names: the class names, likewise.
    """

    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    names: str
    read: Callable[[bytes, str], Part]
    read_names: Callable[[bytes, str], tuple[str, ...]]

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that is read."""
        return (*self.train, self.test, self.names)


def python_reader(label_key: bytes) -> Callable[[bytes, str], Part]:
    """A reader of pickled dictionaries with ``data`` (N, 3072) uint8 and a list of N labels at ``label_key``."""

    def read(data: bytes, where: str) -> Part:
        found = read_pickle(data, where)
        pixels, labels = found.get(b"data"), found.get(label_key)
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
            got = pixels.shape if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise LayerlinkError(f"{where}: expected 'data' of shape (N, {_PIXELS}); got {got}. {_OTHER}")
        if not isinstance(labels, list) or not all(type(one) is int and abs(one) < 2**31 for one in labels):
            raise LayerlinkError(
                f"{where}: expected a list of whole numbers at {label_key.decode()!r}; "
                f"got {type(labels).__name__}. {_OTHER}"
            )
        if len(labels) != len(pixels):
            raise LayerlinkError(f"{where}: expected {len(pixels)} labels, one an image; got {len(labels)}. {_OTHER}")
        return pixels.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)

    return read


def python_names(key: bytes) -> Callable[[bytes, str], tuple[str, ...]]:
    """A reader of the class names in a pickled ``meta`` file, a list at ``key``."""

    def read(data: bytes, where: str) -> tuple[str, ...]:
        names = read_pickle(data, where).get(key)
        if not isinstance(names, list) or not all(isinstance(name, (bytes, str)) for name in names):
            raise LayerlinkError(f"{where}: expected a list of class names at {key.decode()!r}; got none. {_OTHER}")
        return tuple(name.decode("latin1") if isinstance(name, bytes) else name for name in names)

    return read


def binary_reader(label_bytes: int) -> Callable[[bytes, str], Part]:
    """A reader of records of ``label_bytes`` bytes, the label last among them, and 3072 bytes of pixels."""
    record = label_bytes + _PIXELS

    def read(data: bytes, where: str) -> Part:
        if len(data) % record:
            raise LayerlinkError(
                f"{where}: expected records of {record} bytes; got {len(data):,} bytes, which is "
                f"{len(data) // record} records and {len(data) % record} bytes over. "
                f"The file is damaged or cut short: get it again."
            )
        rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, record)
        return rows[:, label_bytes:].reshape(-1, 3, 32, 32), rows[:, label_bytes - 1].astype(np.int64)

    return read


def text_names(data: bytes, where: str) -> tuple[str, ...]:
    """The class names in a text file, one a line; empty lines do not count."""
    return tuple(line.strip() for line in data.decode("latin1").splitlines() if line.strip())


_OTHER = "Is this the file of another data set?"
