"""The sources of images that a recipe may name. A new one is a file beside ``digits.py`` and a line here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from layerlink.data.formats.cifar import CIFAR10, CIFAR100, load_cifar
from layerlink.data.formats.digits import load_digits
from layerlink.data.formats.folder import load_folder
from layerlink.data.images import Source
from layerlink.errors import LayerlinkError, UsageError, unknown_name


class Loader(Protocol):
    """What every source gives: its images, from the same arguments; each source says which it uses."""

    def __call__(
        self, root: Path | None, *, size: int | None, download: bool, cache: Path | None, skip_bad: bool
    ) -> Source:
        """Reads the source; see ``load_source``."""


@dataclass(frozen=True)
class SourceEntry:
    """A source as the registry knows it.

    Args:
        description: one line, for lists of sources.
        load: reads it.
    """

    description: str
    load: Loader


SOURCES: dict[str, SourceEntry] = {
    "digits": SourceEntry("1,797 handwritten digits, 8x8 grey, 10 classes; comes with scikit-learn", load_digits),
    "cifar10": SourceEntry(
        "60,000 photographs, 32x32 RGB, 10 classes; Parquet files or an original archive in root",
        partial(load_cifar, CIFAR10),
    ),
    "cifar100": SourceEntry(
        "60,000 photographs, 32x32 RGB, 100 classes; Parquet files or an original archive in root",
        partial(load_cifar, CIFAR100),
    ),
    "folder": SourceEntry("your own images, in a folder of class folders", load_folder),
}


def load_source(
    name: str,
    root: Path | None,
    *,
    size: int | None = None,
    download: bool = False,
    cache: Path | None = None,
    skip_bad: bool = False,
) -> Source:
    """The images of a source, all in memory on the CPU.

    Args:
        name: a key of ``SOURCES``.
        root: the folder that holds the files; ``digits`` needs none.
        size: height and width in pixels to bring the images of ``folder`` to. The other sources have one
            size and ignore it: their images are scaled later, on the device.
        download: for ``cifar10`` and ``cifar100``, fetch the original archive into ``root`` where ``root``
            holds no known layout. The other sources ignore it.
        cache: the folder for decoded images; None for ``$LAYERLINK_CACHE``, else ``~/.cache/layerlink``.
        skip_bad: leave out images that cannot be decoded, each with its reason in ``Source.bad``.

    Raises:
        UsageError: where the name is unknown, or root or size is missing or wrong.
        LayerlinkError: where files are missing or damaged, or a package that the source needs is.
    """
    if name not in SOURCES:
        raise UsageError(unknown_name("data set", name, SOURCES))
    try:
        return SOURCES[name].load(root, size=size, download=download, cache=cache, skip_bad=skip_bad)
    except OSError as error:
        raise LayerlinkError(f"{name}: the files below {str(root)!r} cannot be read ({error}).") from error
