"""Pixels that are decoded where somebody asks for them, in the place of a tensor of all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from layerlink.config.image_size import ImageSize, sides
from layerlink.data.copies import ahead, to_device
from layerlink.data.formats.decode import MOST_PIXELS, BadImageError, Pixels, decode_all
from layerlink.data.formats.fitted import decode_fitted
from layerlink.data.stream.pictures import Pictures
from layerlink.data.stream.workers import Readers

_CPU = torch.device("cpu")
_CHUNK = 16  # images a piece of work of a thread


@dataclass(frozen=True)
class Decoder:
    """One image after the other of ``pictures``.

    Args:
        pictures: encoded images.
        size: that each is brought to, in pixels: of a square or (height, width).
        most_pixels: that an image may have; of a larger one nothing is decoded.
    """

    pictures: Pictures
    size: ImageSize
    most_pixels: int = MOST_PIXELS

    @property
    def channels(self) -> int:
        """Bytes a pixel."""
        return 3

    def __call__(self, index: int) -> Pixels:
        """The image at an index, (height, width, 3) uint8.

        Raises:
            BadImageError: where it cannot be used.
            LayerlinkError: where it cannot be read.
        """
        pictures = self.pictures
        where, formats = pictures.where(index), pictures.formats(index)
        return decode_fitted(pictures.read(index), where, formats, self.size, False, self.most_pixels)[0]


@dataclass(frozen=True)
class StreamedPixels:
    """(N, channels, height, width) uint8 of which only what is asked for is ever decoded: ``pixels[places]``, a tensor.

    Args:
        decoder: what makes pixels of an image.
        places: (N,) int64, which of its images these are.
        workers: processes that decode ahead of a training.
        device: where the tensors go.
    """

    decoder: Decoder
    places: NDArray[np.int64]
    workers: int = 0
    device: torch.device = _CPU
    dtype = torch.uint8
    ndim = 4

    @property
    def shape(self) -> torch.Size:
        """(N, channels, height, width)."""
        return torch.Size((len(self.places), self.decoder.channels, *sides(self.decoder.size)))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, places: Tensor | slice) -> Tensor:
        """The pixels of some images, (n, channels, height, width) uint8 on the device.

        Raises:
            LayerlinkError: where one cannot be read or decoded.
        """
        return to_device(self._pixels(self.chosen(places)), self.device)

    def taken(self, places: Tensor | slice) -> StreamedPixels:
        """Some of the images; nothing is decoded."""
        return replace(self, places=self.chosen(places))

    def to(self, device: torch.device) -> StreamedPixels:
        """The same images, whose tensors go to ``device``."""
        return replace(self, device=device)

    def ahead(self, steps: Iterable[Tensor], *, again: bool = False) -> Iterator[Tensor]:
        """The pixels of one batch after the other, decoded ahead by ``workers`` processes.

        Args:
            steps: which images each batch has.
            again: whether the processes are kept for the next time.

        Raises:
            LayerlinkError: where an image cannot be used, or a process died.
        """
        return ahead(self._on_host(steps, again), self.device)

    def usable(self) -> tuple[StreamedPixels, NDArray[np.int64], tuple[str, ...]]:
        """Every image is decoded once, and those that cannot be used are left out.

        Returns:
            The others; (n,) int64, which these are; why each of those that are left out cannot be used.
        """
        bad: dict[int, str] = {}

        def look(row: int) -> None:
            try:
                self.decoder(int(self.places[row]))
            except BadImageError as error:
                bad[row] = str(error)

        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            for _ in pool.map(look, range(len(self)), chunksize=_CHUNK):
                pass
        kept = np.array([row for row in range(len(self)) if row not in bad], dtype=np.int64)
        return replace(self, places=self.places[kept]), kept, tuple(bad[row] for row in sorted(bad))

    @cached_property
    def _readers(self) -> Readers:
        return Readers(self.decoder, self.workers)

    def _on_host(self, steps: Iterable[Tensor], again: bool) -> Iterator[Tensor]:
        asked = (self.chosen(it) for it in steps)
        if not self.workers:
            yield from map(self._pixels, asked)
        elif again:
            yield from self._readers.ahead(asked)
        else:
            with closing(Readers(self.decoder, self.workers)) as readers:
                yield from readers.ahead(asked)

    def _pixels(self, chosen: NDArray[np.int64]) -> Tensor:
        found = decode_all(
            len(chosen), self.decoder.size, lambda row: self.decoder(int(chosen[row])), channels=self.decoder.channels
        )
        return torch.from_numpy(found.pixels)

    def chosen(self, places: Tensor | slice) -> NDArray[np.int64]:
        """Which of the decoder's images stand at some places here."""
        if isinstance(places, slice):
            return self.places[places]
        chosen: NDArray[np.int64] = self.places[places.cpu().numpy()]
        return chosen
