"""Images that nobody has labelled, beside those of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from layerlink.config.image_size import ImageSize, size_of
from layerlink.data.folders.tree import below, order
from layerlink.data.formats.decode import MOST_PIXELS
from layerlink.data.images import UNLABELLED, ImageSet
from layerlink.data.stream.images import StreamedImages, Streaming, images_from, pixel_bytes
from layerlink.data.stream.maps import StreamedPairs
from layerlink.data.stream.pictures import JoinedPictures, PictureFiles
from layerlink.data.stream.pixels import Decoder, StreamedPixels
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.paths import expanded


def with_unlabelled(
    images: ImageSet, paths: Sequence[Path], streaming: Streaming, most_pixels: int = MOST_PIXELS
) -> ImageSet:
    """A training set with the images of some files behind it, whose labels are ``UNLABELLED`` or zeros.

    They lie in memory where the set does and all fit; else both are streamed.

    Args:
        images: square ones, in memory or streamed.
        paths: of the files, one or more.
        streaming: when images are streamed.
        most_pixels: that an image may have.

    Raises:
        UsageError: where they have other channels.
        LayerlinkError: where one of them cannot be used, or they do not fit beside a set that cannot be streamed.
    """
    files = PictureFiles(paths)
    size, total = size_of(*images.images.shape[-2:]), len(images) + len(files)
    if isinstance(images, StreamedPairs):
        return images.with_more(files, streaming.processes)
    if isinstance(images, StreamedImages):
        own = images.pixels
        labels, labelled = torch.cat((images.labels, _no_labels(images, len(files)))), own.decoder.pictures
        both = Decoder(JoinedPictures((labelled, files)), size, most_pixels)
        places = np.concatenate((own.places, len(labelled) + np.arange(len(files))))
        pixels = StreamedPixels(both, places, streaming.processes)
        return StreamedImages(cast(Tensor, pixels), labels, images.classes)
    if streaming.needed(total, size):
        raise LayerlinkError(
            f"data.unlabelled: {len(files):,} images beside {len(images):,} take {pixel_bytes(total, size) / 1e9:.1f} "
            "GB, more than data.memory_gb, and the others lie in memory: raise it, or take fewer"
        )
    more, _ = images_from(files, [UNLABELLED] * len(files), images.classes, size, None, most_pixels=most_pixels)
    if more.images.shape[1] != images.images.shape[1]:
        raise UsageError(f"data.unlabelled: its images have 3 channels, those of the set {images.images.shape[1]}")
    labels = torch.cat((images.labels, _no_labels(images, len(files))))
    return ImageSet(torch.cat((images.images, more.images)), labels, images.classes)


def unlabelled_files(root: Path) -> list[Path]:
    """The images below a folder, at any depth, in the order of their names.

    Raises:
        UsageError: where there is no such folder, or no image in it.
    """
    root = expanded(root)
    if not root.is_dir():
        raise UsageError(f"data.unlabelled: {str(root)!r} is no folder")
    found = sorted((it for it in below(root) if it.kind == "image"), key=order)
    if not found:
        raise UsageError(f"data.unlabelled: {str(root)!r} holds no images")
    return [root.joinpath(*it.names) for it in found]


def usable(paths: Sequence[Path], size: ImageSize, most_pixels: int) -> tuple[list[Path], tuple[str, ...]]:
    """Those of the files that can be used, and why each of the others cannot: every image is decoded once.

    Raises:
        LayerlinkError: where none can.
    """
    _, kept, bad = StreamedPixels(Decoder(PictureFiles(paths), size, most_pixels), np.arange(len(paths)), 0).usable()
    if not len(kept):
        raise LayerlinkError(f"data.unlabelled: none of {len(paths):,} images can be used: {bad[0]}")
    return [paths[place] for place in kept], bad


def _no_labels(images: ImageSet, count: int) -> Tensor:
    if images.has_classes:
        return torch.full((count,), UNLABELLED)
    return images.labels.new_zeros(count, *images.labels.shape[1:])
