"""CIFAR-10 and CIFAR-100 (fine labels): 50,000 training and 10,000 test images of 32 x 32 in colour.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from layerlink.config.image_size import ImageSize
from layerlink.data.cache import cached
from layerlink.data.download import download as fetch
from layerlink.data.formats.archives import read_archive, read_folder
from layerlink.data.formats.decode import MOST_PIXELS
from layerlink.data.formats.parquet import find_shards, read_shards
from layerlink.data.images import ImageSet, Source
from layerlink.data.sources.cifar_names import CIFAR10_NAMES, CIFAR100_NAMES
from layerlink.data.sources.originals import Original, Part, binary_reader, python_names, python_reader, text_names
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.paths import expanded


@dataclass(frozen=True)
class Cifar:
    """Everything that tells one of the sets from the other.

    Args:
        name: of the source.
        classes: the class names, in label order.
        label_column: the labels' column in Parquet files.
        originals: the releases; the first is the one that ``url`` gives.
        url: the first release's archive.
        md5: that archive's checksum, in hexadecimal.
        train_images: of the training set, the same number in each of its files.
        test_images: of the test set.
    """

    name: str
    classes: tuple[str, ...]
    label_column: str
    originals: tuple[Original, ...]
    url: str
    md5: str
    train_images: int = 50_000
    test_images: int = 10_000


CIFAR10 = Cifar(
    name="cifar10",
    classes=CIFAR10_NAMES,
    label_column="label",
    originals=(
        Original(
            folder="cifar-10-batches-py",
            archive="cifar-10-python.tar.gz",
            train=tuple(f"data_batch_{n}" for n in range(1, 6)),
            test="test_batch",
            names="batches.meta",
            read=python_reader(b"labels"),
            read_names=python_names(b"label_names"),
        ),
        Original(
            folder="cifar-10-batches-bin",
            archive="cifar-10-binary.tar.gz",
            train=tuple(f"data_batch_{n}.bin" for n in range(1, 6)),
            test="test_batch.bin",
            names="batches.meta.txt",
            read=binary_reader(1),
            read_names=text_names,
        ),
    ),
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
)

CIFAR100 = Cifar(
    name="cifar100",
    classes=CIFAR100_NAMES,
    label_column="fine_label",
    originals=(
        Original(
            folder="cifar-100-python",
            archive="cifar-100-python.tar.gz",
            train=("train",),
            test="test",
            names="meta",
            read=python_reader(b"fine_labels"),
            read_names=python_names(b"fine_label_names"),
        ),
        Original(
            folder="cifar-100-binary",
            archive="cifar-100-binary.tar.gz",
            train=("train.bin",),
            test="test.bin",
            names="fine_label_names.txt",
            read=binary_reader(2),
            read_names=text_names,
        ),
    ),
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
)


def load_cifar(
    which: Cifar,
    root: Path | None,
    *,
    size: ImageSize | None = None,
    download: bool = False,
    cache: Path | None = None,
    skip_bad: bool = False,
    most_pixels: int = MOST_PIXELS,
    url: str | None = None,
) -> Source:
    """A CIFAR set: train (50000, 3, 32, 32) and test (10000, 3, 32, 32).

    Where ``root`` holds several layouts, Parquet files go before extracted releases, those before archives.
    Parquet files and archives are decoded once and then come from the cache.

    Args:
        which: ``CIFAR10`` or ``CIFAR100``.
        root: a folder that holds the Parquet files, an extracted release or its archive; or the extracted
            release itself.
        size: not used; images are scaled later, on the device.
        download: fetch the archive into ``root`` where ``root`` holds none of these.
        cache: the cache's folder; None for the default.
        skip_bad: leave images of Parquet files out that do not decode. The other layouts hold no encoded images.
        most_pixels: not used; every image has 32x32.
        url: where to fetch the archive from; None for its publisher. The checksum stays the same.

    Raises:
        UsageError: where ``root`` is not given or holds none of the layouts.
        LayerlinkError: where files are missing, damaged or not those of this set, or cannot be fetched.
    """
    if root is None:
        raise UsageError(f"{which.name} needs root, a folder. {_accepted(which)}")
    root = expanded(root)
    layout = _find(which, root, skip_bad)
    if layout is None and download:
        fetch(url or which.url, root / which.originals[0].archive, md5=which.md5)
        layout = _find(which, root, skip_bad)
    if layout is None:
        got = "holds none of them" if root.is_dir() else "is a file" if root.exists() else "does not exist"
        raise UsageError(f"{which.name}: root {str(root)!r} {got}. {_accepted(which)}")
    files, read = layout
    if not files:
        return read()
    settings = "skip bad" if skip_bad else ""
    return cached(read, name=which.name, root=root, files=files, settings=settings, cache=cache)


def _accepted(which: Cifar) -> str:
    folders = ", ".join(f"{original.folder}/" for original in which.originals)
    archives = ", ".join(original.archive for original in which.originals)
    return (
        f"Give a folder that holds train-*.parquet and test-*.parquet (columns img, {which.label_column}), or one "
        f"of {folders}, {archives}. To fetch the original ({which.url}) into root, ask for download."
    )


def _find(which: Cifar, root: Path, skip_bad: bool) -> tuple[list[Path], Callable[[], Source]] | None:
    """The files worth caching (none: reading them is fast) and how to read the set; None: no known layout."""
    if not root.is_dir():
        return None
    shards = find_shards(root)
    if shards:
        return [*shards["train"], *shards["test"]], partial(_read_parquet, which, shards, skip_bad)
    for original in which.originals:
        for folder in (root / original.folder, root):
            # At the root, any one file of a release shows that it is meant; the reader names the missing ones.
            if (folder != root and folder.is_dir()) or any((folder / name).is_file() for name in original.files):
                return [], partial(_read_folder, which, original, folder)
    for original in which.originals:
        archive = root / original.archive
        if archive.is_file():
            return [archive], partial(_read_archive, which, original, archive)
    return None


def _read_parquet(which: Cifar, shards: dict[str, list[Path]], skip_bad: bool) -> Source:
    sets: list[ImageSet] = []
    bad: tuple[str, ...] = ()
    for split, count in (("train", which.train_images), ("test", which.test_images)):
        part = read_shards(shards[split], which.label_column, len(which.classes), 32, skip_bad=skip_bad)
        where = str(shards[split][0].with_name(f"{split}-*.parquet"))
        if part.names is not None:
            _check_names(which, part.names, where)
        _check_part(which, (part.images, part.labels), count - len(part.bad), where)
        sets.append(_image_set(which, [(part.images, part.labels)]))
        bad += part.bad
    train, test = sets
    return Source(train, test, bad)


def _read_folder(which: Cifar, original: Original, folder: Path) -> Source:
    return _read_original(which, original, read_folder(folder, original.files), f"{folder}/")


def _read_archive(which: Cifar, original: Original, archive: Path) -> Source:
    files = read_archive(archive, original.folder, original.files)
    return _read_original(which, original, files, f"{archive}, ")


def _read_original(which: Cifar, original: Original, files: dict[str, bytes], where: str) -> Source:
    _check_names(which, original.read_names(files[original.names], where + original.names), where + original.names)
    each = which.train_images // len(original.train)
    parts = []
    for name, count in [*((name, each) for name in original.train), (original.test, which.test_images)]:
        part = original.read(files[name], where + name)
        _check_part(which, part, count, where + name)
        parts.append(part)
    return Source(_image_set(which, parts[:-1]), _image_set(which, parts[-1:]))


def _check_names(which: Cifar, names: tuple[str, ...], where: str) -> None:
    if names != which.classes:
        shown = ", ".join(repr(name) for name in names[:3])
        raise LayerlinkError(
            f"{where}: expected the {len(which.classes)} class names of {which.name}, from {which.classes[0]!r} to "
            f"{which.classes[-1]!r}; got {len(names)} ({shown} ...) that differ. Is this another data set?"
        )


def _check_part(which: Cifar, part: Part, count: int, where: str) -> None:
    images, labels = part
    if len(images) != count:
        raise LayerlinkError(
            f"{where}: expected {count:,} images; got {len(images):,}. Get the files of {which.name} again."
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= len(which.classes)))
    if len(wrong):
        raise LayerlinkError(
            f"{where}, image {wrong[0]}: expected a label of 0..{len(which.classes) - 1}; got {labels[wrong[0]]}. "
            f"Is this another data set than {which.name}?"
        )


def _image_set(which: Cifar, parts: list[Part]) -> ImageSet:
    # A copy also where there is one part: what was read may lie in memory that must not be written to.
    images = torch.from_numpy(np.concatenate([images for images, _ in parts]))
    labels = torch.from_numpy(np.concatenate([labels for _, labels in parts]))
    return ImageSet(images, labels, which.classes)
