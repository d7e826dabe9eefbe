"""A set of images that are streamed: an ``ImageSet`` that never has all of its pixels in memory."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from layerlink.config.image_size import ImageSize, sides
from layerlink.data.formats.decode import MOST_PIXELS, decode_all
from layerlink.data.images import ImageSet
from layerlink.data.stream.pictures import Pictures
from layerlink.data.stream.pixels import Decoder, StreamedPixels

MEMORY = 4_000_000_000  # bytes of pixels beyond which images are streamed, unless one says otherwise
STATISTICS = 2048  # images that mean and standard deviation are taken of


def pixel_bytes(count: int, size: ImageSize, channels: int = 3) -> int:
    """What ``count`` images of a size take in memory: three bytes a pixel, four with a map of labels."""
    return count * channels * math.prod(sides(size))


@dataclass(frozen=True)
class Streaming:
    """When images are streamed, and how.

    Args:
        memory: bytes that the pixels of all parts may take in memory; beyond it they are streamed.
        workers: processes that decode; None: one a core, 8 at most.
    """

    memory: int = MEMORY
    workers: int | None = None

    def needed(self, count: int, size: ImageSize, channels: int = 3) -> bool:
        """Whether ``count`` images of a size are too many for the memory."""
        return pixel_bytes(count, size, channels) > self.memory

    @property
    def processes(self) -> int:
        """How many decode."""
        return self.workers if self.workers is not None else min(8, os.cpu_count() or 1)


class StreamedImages(ImageSet):
    """Images whose pixels are decoded batch by batch; ``images`` are ``StreamedPixels`` in a tensor's place."""

    read_on_host: ClassVar[bool] = True

    @property
    def pixels(self) -> StreamedPixels:
        """What ``images`` are here."""
        return cast(StreamedPixels, self.images)

    def select(self, places: Tensor | slice) -> StreamedImages:
        """The images at ``places``, as a set of their own; nothing is decoded."""
        return StreamedImages(cast(Tensor, self.pixels.taken(places)), self.labels[places], self.classes)

    def to(self, device: torch.device) -> StreamedImages:
        """The same set, whose batches go to ``device``."""
        return StreamedImages(cast(Tensor, self.pixels.to(device)), self.labels.to(device), self.classes)

    def tensors(self) -> dict[str, Tensor]:
        """None: they are never all in memory."""
        return {}

    def digests(self) -> list[bytes]:
        """None: all images would have to be read for them."""
        return []

    def for_statistics(self) -> Tensor:
        """Pixels of ``STATISTICS`` images, spread evenly over the set."""
        count = min(STATISTICS, len(self))
        return self.pixels[torch.arange(count) * len(self) // count].cpu()

    def ahead(self, steps: Iterable[Tensor], *, again: bool = False) -> Iterator[Tensor]:
        """The rows of one batch after the other, decoded ahead."""
        return self.pixels.ahead(steps, again=again)

    @property
    def checksum(self) -> str:
        """The number of images and a CRC of what they are known by, of which these are, and of labels."""
        crc = zlib.crc32(self.pixels.places.tobytes(), self.pixels.decoder.pictures.checksum())
        crc = zlib.crc32(self.labels.cpu().contiguous().numpy().data, crc)
        return f"{len(self)} {self.noun}, streamed, crc32 {crc:08x}"


def images_from(
    pictures: Pictures,
    labels: Sequence[int],
    classes: tuple[str, ...],
    size: ImageSize,
    streaming: Streaming | None,
    *,
    skip_bad: bool = False,
    most_pixels: int = MOST_PIXELS,
) -> tuple[ImageSet, tuple[str, ...]]:
    """Encoded images as a set, in memory or streamed.

    Args:
        pictures: all of them.
        labels: one an image.
        classes: their names.
        size: height and width to bring each to.
        streaming: how they are streamed; None: they are decoded now and lie in memory.
        skip_bad: leave out those that cannot be used. Of streamed images each is decoded once for that.
        most_pixels: that an image may have.

    Returns:
        The set, and why images were left out.

    Raises:
        LayerlinkError: where an image cannot be used; of streamed ones when a batch asks for it.
    """
    targets = torch.tensor(labels, dtype=torch.int64)
    workers = 0 if streaming is None else streaming.processes
    pixels = StreamedPixels(Decoder(pictures, size, most_pixels), np.arange(len(pictures)), workers)
    if streaming is None:
        found = decode_all(len(pictures), size, pixels.decoder, skip_bad=skip_bad)
        return ImageSet(torch.from_numpy(found.pixels), targets[torch.from_numpy(found.kept)], classes), found.bad
    bad: tuple[str, ...] = ()
    if skip_bad:
        pixels, kept, bad = pixels.usable()
        targets = targets[torch.from_numpy(kept)]
    return StreamedImages(cast(Tensor, pixels), targets, classes), bad
