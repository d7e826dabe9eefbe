"""Streamed images with maps of labels: both are decoded by the same process, when a batch asks for them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from layerlink.config.image_size import sides
from layerlink.data.copies import to_device
from layerlink.data.formats.decode import Pixels, decode_all
from layerlink.data.formats.fitted import decode_fitted
from layerlink.data.formats.label_map import check_size, fit_map, read_label_map
from layerlink.data.stream.images import StreamedImages
from layerlink.data.stream.pictures import JoinedPictures, PictureFiles, Pictures
from layerlink.data.stream.pixels import Decoder, StreamedPixels

LOOKED_AT = 256  # maps, evenly from the set, that stand for all where all would have to be read


@dataclass(frozen=True)
class PairDecoder(Decoder):
    """One image after the other with its map: red, green, blue, then the bytes of the label's number.

    Args:
        maps: files, one an image; images beyond them have none, and the label 0.
        table: what becomes of every number in a map, in the labels' dtype.
        known: (N,) bool, which images have labels; None: all.
        no_label: what stands in the maps of the others.
    """

    maps: PictureFiles = field(kw_only=True)
    table: NDArray[Any] = field(kw_only=True)
    known: NDArray[np.bool_] | None = None
    no_label: int = 0

    @property
    def channels(self) -> int:
        """Three of colours, and the bytes of a label."""
        return 3 + self.table.itemsize

    def __call__(self, index: int) -> Pixels:
        """The pair at an index, (height, width, channels) uint8.

        Raises:
            BadImageError: where one of both cannot be used, or the map is of another size than its image.
            LayerlinkError: where one of both cannot be read, or the map holds colours.
        """
        where, formats = self.pictures.where(index), self.pictures.formats(index)
        data = self.pictures.read(index)
        pixels, whole = decode_fitted(data, where, formats, self.size, False, self.most_pixels)
        labels = np.ascontiguousarray(self.labels(index, whole))
        return np.concatenate([pixels, labels.view(np.uint8).reshape(*pixels.shape[:2], -1)], axis=2)

    def labels(self, index: int, whole: tuple[int, int] | None = None) -> NDArray[Any]:
        """The map at an index, (height, width) in the table's dtype.

        Args:
            index: which.
            whole: height and width of its image; None where nobody looked.
        """
        if self.known is not None and not self.known[index]:
            return np.full(sides(self.size), self.no_label, self.table.dtype)
        if index >= len(self.maps):
            return np.zeros(sides(self.size), self.table.dtype)
        path = self.maps.path(index)
        values = read_label_map(path, self.most_pixels)
        if whole is not None:
            check_size(path, values, whole)
        found: NDArray[Any] = self.table[fit_map(values, self.size)]
        return found

    def checksum(self) -> int:
        """A CRC-32 of what images and maps are known by, and of what becomes of numbers."""
        crc = zlib.crc32(self.table.tobytes(), self.pictures.checksum())
        crc = zlib.crc32(str((self.maps.checksum(), self.no_label)).encode(), crc)
        return crc if self.known is None else zlib.crc32(self.known.tobytes(), crc)


@dataclass(frozen=True)
class StreamedMaps:
    """(N, height, width) labels of which only what is asked for is ever decoded: ``maps[places]``, a tensor.

    Args:
        pairs: images with maps.
    """

    pairs: StreamedPixels
    ndim = 3

    @property
    def decoder(self) -> PairDecoder:
        """What makes a map of a file."""
        return cast(PairDecoder, self.pairs.decoder)

    @property
    def shape(self) -> torch.Size:
        """(N, height, width)."""
        return torch.Size((len(self.pairs), *sides(self.decoder.size)))

    @property
    def device(self) -> torch.device:
        """Where the tensors go."""
        return self.pairs.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the labels."""
        return torch.from_numpy(self.decoder.table[:1]).dtype

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, places: Tensor | slice) -> Tensor:
        """The maps of some images, (n, height, width) on the device.

        Raises:
            LayerlinkError: where one cannot be used.
        """
        decoder, chosen = self.decoder, self.pairs.chosen(places)
        size, depth = decoder.size, decoder.table.itemsize

        def nth(row: int) -> Pixels:
            labels = np.ascontiguousarray(decoder.labels(int(chosen[row])))
            return labels.view(np.uint8).reshape(*sides(size), depth)

        found = decode_all(len(chosen), size, nth, channels=depth)
        return self.read_off(to_device(torch.from_numpy(found.pixels), self.device))

    def read_off(self, rows: Tensor) -> Tensor:
        """The labels whose bytes are the last channels of ``rows`` (n, C, height, width)."""
        depth = self.decoder.table.itemsize
        if depth == 1:
            return rows[:, -1].contiguous()
        return rows[:, -depth:].permute(0, 2, 3, 1).contiguous().view(self.dtype)[..., 0]

    def taken(self, places: Tensor | slice) -> StreamedMaps:
        """Some of the maps; nothing is decoded."""
        return StreamedMaps(self.pairs.taken(places))

    def to(self, device: torch.device) -> StreamedMaps:
        """The same maps, whose tensors go to ``device``."""
        return StreamedMaps(self.pairs.to(device))

    def is_floating_point(self) -> bool:
        """No."""
        return False

    def is_complex(self) -> bool:
        """No."""
        return False

    def known_where(self, chosen: Tensor, no_label: int) -> StreamedMaps:
        """The maps of which all but those of the chosen images are full of ``no_label``.

        Args:
            chosen: (N,) bool.
            no_label: that says that nothing is known.
        """
        decoder = self.decoder
        known = np.zeros(len(decoder.pictures), bool)
        known[self.pairs.places[chosen.cpu().numpy()]] = True
        return StreamedMaps(replace(self.pairs, decoder=replace(decoder, known=known, no_label=no_label)))


class StreamedPairs(StreamedImages):
    """Images with maps of labels, decoded batch by batch; ``labels`` are ``StreamedMaps`` in a tensor's place."""

    @staticmethod
    def of(pairs: StreamedPixels, classes: tuple[str, ...]) -> StreamedPairs:
        """The set of some pairs.

        Args:
            pairs: of a ``PairDecoder``.
            classes: their names.
        """
        decoder = pairs.decoder
        alone = replace(pairs, decoder=Decoder(decoder.pictures, decoder.size, decoder.most_pixels))
        return StreamedPairs(cast(Tensor, alone), cast(Tensor, StreamedMaps(pairs)), classes)

    @property
    def maps(self) -> StreamedMaps:
        """What ``labels`` are here."""
        return cast(StreamedMaps, self.labels)

    def select(self, places: Tensor | slice) -> StreamedPairs:
        """The images at ``places``, as a set of their own; nothing is decoded."""
        return StreamedPairs.of(self.maps.pairs.taken(places), self.classes)

    def to(self, device: torch.device) -> StreamedPairs:
        """The same set, whose batches go to ``device``."""
        return StreamedPairs.of(self.maps.pairs.to(device), self.classes)

    def ahead(self, steps: Iterable[Tensor], *, again: bool = False) -> Iterator[Tensor]:
        """The pairs of one batch after the other, decoded ahead."""
        return self.maps.pairs.ahead(steps, again=again)

    def relabelled(self, labels: Tensor) -> StreamedImages:  # type: ignore[override]
        """The same images with labels that are there."""
        return StreamedImages(self.images, labels, self.classes)

    def parted(self, rows: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels and labels of decoded pairs."""
        return rows[:, :3].contiguous(), self.maps.read_off(rows)

    def some_labels(self) -> Tensor:
        """Maps of ``LOOKED_AT`` images, evenly from the set."""
        count = min(LOOKED_AT, len(self))
        return self.maps[torch.arange(count) * len(self) // max(count, 1)]

    def known_where(self, chosen: Tensor, no_label: int) -> StreamedPairs:
        """The set in which all but the chosen images have no label, as ``StreamedMaps.known_where``."""
        return StreamedPairs.of(self.maps.known_where(chosen, no_label).pairs, self.classes)

    def with_more(self, files: Pictures, workers: int) -> StreamedPairs:
        """The set with images behind it that have no map."""
        pairs = self.maps.pairs
        own = self.maps.decoder
        both = replace(own, pictures=JoinedPictures((own.pictures, files)))
        places = np.concatenate((pairs.places, len(own.pictures) + np.arange(len(files))))
        return StreamedPairs.of(replace(pairs, decoder=both, places=places, workers=workers), self.classes)

    @property
    def checksum(self) -> str:
        """The number of images and a CRC of what they and their maps are known by, and of which these are."""
        pairs = self.maps.pairs
        crc = zlib.crc32(pairs.places.tobytes(), self.maps.decoder.checksum())
        return f"{len(self)} {self.noun}, streamed, crc32 {crc:08x}"
