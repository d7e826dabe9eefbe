"""Pixels that are decoded where somebody asks for them, in the place of a tensor of all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from layerlink.config.image_size import ImageSize, sides
from layerlink.data.copies import ahead, to_device
from layerlink.data.formats.decode import MOST_PIXELS, BadImageError, Pixels, decode_all
from layerlink.data.formats.fitted import decode_fitted
from layerlink.data.stream.pictures import Pictures
from layerlink.data.stream.workers import read_ahead

_CPU = torch.device("cpu")
_CHUNK = 16  # images a piece of work of a thread


@dataclass(frozen=True)
class StreamedPixels:
    """(N, 3, height, width) uint8 of which only what is asked for is ever decoded: ``pixels[places]``, a tensor.

    Args:
        pictures: encoded images.
        places: (N,) int64, which of them these are.
        size: that each is brought to, in pixels: of a square or (height, width).
        most_pixels: that an image may have; of a larger one nothing is decoded.
        workers: processes that decode ahead of a training.
        device: where the tensors go.
    """

    pictures: Pictures
    places: NDArray[np.int64]
    size: ImageSize
    most_pixels: int = MOST_PIXELS
    workers: int = 0
    device: torch.device = _CPU
    dtype = torch.uint8
    ndim = 4

    @property
    def shape(self) -> torch.Size:
        """(N, 3, height, width)."""
        return torch.Size((len(self.places), 3, *sides(self.size)))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, places: Tensor | slice) -> Tensor:
        """The pixels of some images, (n, 3, height, width) uint8 on the device.

        Raises:
            LayerlinkError: where one cannot be read or decoded.
        """
        chosen = self._chosen(places)
        found = decode_all(len(chosen), self.size, lambda row: self.decoded(int(chosen[row])))
        return to_device(torch.from_numpy(found.pixels), self.device)

    def taken(self, places: Tensor | slice) -> StreamedPixels:
        """Some of the images; nothing is decoded."""
        return replace(self, places=self._chosen(places))

    def to(self, device: torch.device) -> StreamedPixels:
        """The same images, whose tensors go to ``device``."""
        return replace(self, device=device)

    def decoded(self, index: int) -> Pixels:
        """One image of ``pictures``, (height, width, 3) uint8.

        Raises:
            BadImageError: where it cannot be used.
            LayerlinkError: where it cannot be read.
        """
        pictures = self.pictures
        where, formats = pictures.where(index), pictures.formats(index)
        return decode_fitted(pictures.read(index), where, formats, self.size, False, self.most_pixels)[0]

    def ahead(self, steps: Iterable[Tensor]) -> Iterator[Tensor]:
        """The pixels of one batch after the other, decoded ahead by ``workers`` processes.

        Raises:
            LayerlinkError: where an image cannot be used, or a process died.
        """
        if not self.workers:
            here = self.to(_CPU)
            return ahead((here[places] for places in steps), self.device)
        return ahead(read_ahead(self.decoded, (self._chosen(it) for it in steps), self.workers), self.device)

    def usable(self) -> tuple[StreamedPixels, NDArray[np.int64], tuple[str, ...]]:
        """Every image is decoded once, and those that cannot be used are left out.

        Returns:
            The others; (n,) int64, which these are; why each of those that are left out cannot be used.
        """
        bad: dict[int, str] = {}

        def look(row: int) -> None:
            try:
                self.decoded(int(self.places[row]))
            except BadImageError as error:
                bad[row] = str(error)

        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            for _ in pool.map(look, range(len(self)), chunksize=_CHUNK):
                pass
        kept = np.array([row for row in range(len(self)) if row not in bad], dtype=np.int64)
        return replace(self, places=self.places[kept]), kept, tuple(bad[row] for row in sorted(bad))

    def _chosen(self, places: Tensor | slice) -> NDArray[np.int64]:
        if isinstance(places, slice):
            return self.places[places]
        chosen: NDArray[np.int64] = self.places[places.cpu().numpy()]
        return chosen
