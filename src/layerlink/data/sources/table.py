"""The sources of images that a recipe may name. A new one is a file beside ``digits.py`` and a line here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from layerlink.config.image_size import ImageSize
from layerlink.data.formats.decode import MOST_PIXELS
from layerlink.data.images import Source
from layerlink.data.sources.cifar import CIFAR10, CIFAR100, load_cifar
from layerlink.data.sources.digits import load_digits
from layerlink.data.sources.folder import load_folder
from layerlink.data.sources.segmentation import load_segmentation
from layerlink.data.stream.images import Streaming
from layerlink.data.stream.shards import ARGUMENTS, load_parquet
from layerlink.data.stream.tars import load_tars
from layerlink.errors import LayerlinkError, UsageError, unknown_name
from layerlink.user_code import named


@dataclass(frozen=True)
class SourceEntry:
    """A source as the registry knows it.

    Args:
        description: one line, for lists of sources.
        load: reads it.
        streams: whether it takes ``streaming``: its images may be more than fit into memory.
        arguments: that it takes beside those of every source.
    """

    description: str
    load: Callable[..., Source]
    streams: bool = False
    arguments: tuple[str, ...] = ()


def _text(root: Path | None, **_: Any) -> Source:
    """Texts are tokens by the tokenizer of a model, which ``load_texts`` is given beside the folder."""
    raise UsageError("texts are read by layerlink.data.text.load.load_texts, which takes a tokenizer")


def _parquet(root: Path | None, *, size: ImageSize | None, download: bool, cache: Path | None, **given: Any) -> Source:
    """Rows of Parquet files; nothing of them is fetched or kept elsewhere."""
    return load_parquet(root, size=size or 32, **given)


def _tars(root: Path | None, *, size: ImageSize | None, download: bool, cache: Path | None, **given: Any) -> Source:
    """Members of tars; the same."""
    return load_tars(root, size=size or 32, **given)


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
    "folder": SourceEntry("your own images, in a folder of class folders", load_folder, streams=True),
    "parquet": SourceEntry(
        "your own images, in Parquet files with columns of any name", _parquet, streams=True, arguments=ARGUMENTS
    ),
    "webdataset": SourceEntry("your own images, in tars as WebDataset has them", _tars, streams=True),
    "segmentation": SourceEntry(
        "your own images with maps of labels: images/ and labels/, or as VOC, Cityscapes or CamVid lay them out",
        load_segmentation,
        streams=True,
        arguments=("classes", "images", "labels", "ignore"),
    ),
    "text": SourceEntry(
        "your own texts, in TSV, CSV, JSON lines or Parquet files; data.texts says which columns", _text
    ),
}
SCALED = ("folder", "parquet", "webdataset", "segmentation")
"""Sources whose images are brought to the recipe's size when they are decoded."""


def load_source(
    name: str,
    root: Path | None,
    *,
    size: ImageSize | None = None,
    download: bool = False,
    cache: Path | None = None,
    skip_bad: bool = False,
    most_pixels: int = MOST_PIXELS,
    arguments: Mapping[str, Any] | None = None,
    streaming: Streaming | None = None,
) -> Source:
    """The images of a source: in memory on the CPU, or streamed where there are too many.

    Args:
        name: a key of ``SOURCES``; or ``package.module:callable`` of one's own, which is called with the
            ``arguments``, and with ``root`` and ``size`` where it names them, and gives a ``Source``.
        root: the folder that holds the files; ``digits`` needs none.
        size: pixels to bring the images of the sources in ``SCALED`` to, of a square or (height, width). The other
            sources have one size and ignore it: their images are scaled on the device.
        download: for ``cifar10`` and ``cifar100``, fetch the original archive into ``root`` where ``root``
            holds no known layout. The other sources ignore it.
        cache: the folder for decoded images; None for ``$LAYERLINK_CACHE``, else ``~/.cache/layerlink``.
        skip_bad: leave out images that cannot be decoded, each with its reason in ``Source.bad``.
        most_pixels: that an image of ``folder`` may have; of a larger one nothing is decoded.
        arguments: of a callable of one's own, or what ``SourceEntry.arguments`` names.
        streaming: from how many bytes on images are streamed, and how; None: as by default.

    Raises:
        UsageError: where the name is unknown, or root or size is missing or wrong.
        LayerlinkError: where files are missing or damaged, or a package that the source needs is.
    """
    if ":" in name:
        return _own(name, arguments or {}, root=root, size=size)
    if name not in SOURCES:
        raise UsageError(unknown_name("data set", name, SOURCES))
    entry, given = SOURCES[name], dict(arguments or {})
    if given and not entry.arguments:
        raise UsageError(f"data.arguments are of a callable of your own; {name} takes none")
    for unknown in sorted(set(given) - set(entry.arguments)):
        raise UsageError(f"data.arguments: {unknown_name('argument', unknown, entry.arguments)}")
    if entry.streams:
        given["streaming"] = streaming or Streaming()
    try:
        return entry.load(
            root, size=size, download=download, cache=cache, skip_bad=skip_bad, most_pixels=most_pixels, **given
        )
    except OSError as error:
        raise LayerlinkError(f"{name}: the files below {str(root)!r} cannot be read ({error}).") from error


def _own(name: str, arguments: Mapping[str, Any], **offered: Any) -> Source:
    """What a callable of the user's own gives.

    Raises:
        UsageError: where it cannot be imported, does not take the arguments, or gives no ``Source``.
    """
    make = named(name, "data set")
    parameters = inspect.signature(make).parameters
    try:
        given = make(**{key: value for key, value in offered.items() if key in parameters}, **arguments)
    except TypeError as error:
        raise UsageError(f"data set {name!r}: {error}") from error
    if not isinstance(given, Source):
        raise UsageError(
            f"data set {name!r} must give a layerlink.data.Source(train=ImageSet(...), test=ImageSet(...)); got "
            f"{type(given).__name__}"
        )
    return given
