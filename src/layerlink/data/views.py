"""Views: what the models see of an image. Made on the device, per batch, the same again for the same numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from layerlink.config.image_size import ImageSize, plain, sides
from layerlink.data.augment.augmentation import Augmentation, Places
from layerlink.data.augment.draws import bits
from layerlink.data.augment.windows import nearest, sampled

Augment = Literal["none", "flip", "crop", "crop-flip"]


@dataclass(frozen=True)
class Views:
    """Crop, flip, scale and normalise.

    The augmentation of an image depends on (seed, epoch, image) alone: not on the batch it is in, the order, or
    the device. Crop and flip happen on the stored pixels, before scaling.

    Args:
        image_size: pixels that the models get, of a square or (height, width).
        mean: per channel, in units where white is 1; subtracted.
        std: per channel, in the same units; divided by.
        augment: "none"; "flip", left-right with probability 1/2; "crop", a shift by up to ``padding`` pixels
            each way, black where nothing was; "crop-flip", both.
        seed: of the augmentation.
        padding: in stored pixels.
        ignore: the label of pixels that a shift brings into a map of labels; None: 0.
        more: what is drawn beside crop and flip, after them.
    """

    image_size: ImageSize
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augment = "none"
    seed: int = 0
    padding: int = 4
    ignore: int | None = None
    more: Augmentation | None = None

    def __call__(
        self,
        images: Tensor,
        indices: Tensor | None = None,
        epoch: int | None = None,
        places: Places | None = None,
    ) -> Tensor:
        """The view of a batch.

        Args:
            images: (N, C, H, W) uint8.
            indices: (N,) int64, which images of the data set these are; None for the plain view.
            epoch: from 0; None for the plain view, without augmentation.
            places: the indices as the host knows them, so that no device is waited for; None: they are read.

        Returns:
            (N, C, height, width) float32 in channels-last memory.
        """
        if self.augment != "none" and epoch is not None and indices is not None:
            images = self._augmented(images, indices, epoch)
        if self.more is not None and epoch is not None and indices is not None:
            return self._with_more(self.more, images, indices, epoch, places)
        return self._normalised(scaled(images.to(torch.float32, memory_format=torch.channels_last), self.image_size))

    def _with_more(
        self, more: Augmentation, images: Tensor, indices: Tensor, epoch: int, places: Places | None
    ) -> Tensor:
        windows = more.windows(images, indices, self.seed, epoch, self.image_size)
        pixels = (
            scaled(images.float(), self.image_size) if windows is None else sampled(images, windows, self.image_size)
        )
        pixels = self._normalised(more.coloured(pixels, indices, self.seed, epoch, places))
        return more.erased(pixels, indices, self.seed, epoch).contiguous(memory_format=torch.channels_last)

    def _normalised(self, pixels: Tensor) -> Tensor:
        shift, scale = _shift_and_scale(self.mean, self.std, pixels.device)
        return torch.addcmul(shift, pixels, scale).contiguous(memory_format=torch.channels_last)

    def drawn(self, number: int) -> Views:
        """The views of which another augmentation is drawn: 0 gives these."""
        return self if not number else replace(self, seed=self.seed + (number << 32))

    def of_size(self, image_size: ImageSize) -> Views:
        """The same views in other pixels."""
        return replace(self, image_size=image_size)

    def facts(self) -> dict[str, Any]:
        """What tells a run's inputs from others, for JSON."""
        return {"image_size": plain(self.image_size), "mean": list(self.mean), "std": list(self.std)}

    def labels(
        self,
        labels: Tensor,
        indices: Tensor | None = None,
        epoch: int | None = None,
        places: Places | None = None,
    ) -> Tensor:
        """What becomes of labels as images become views: maps (N, H, W) go along, all others stay as they are.

        Args:
            labels: (N, ...), as in ``ImageSet``.
            indices: as in a call.
            epoch: as in a call.
            places: as in a call.

        Returns:
            Maps (N, height, width), by the nearest pixel.
        """
        if labels.ndim != 3:
            return labels
        maps = labels[:, None]
        if self.augment != "none" and epoch is not None and indices is not None:
            maps = self._augmented(maps, indices, epoch, self.ignore or 0)
        if self.more is not None and epoch is not None and indices is not None:
            windows = self.more.windows(maps, indices, self.seed, epoch, self.image_size)
            if windows is not None:
                maps = nearest(maps[:, 0], windows, self.image_size, self.ignore or 0)[:, None]
            maps = self._scaled_maps(maps)
            return self.more.moved(maps[:, 0], indices, self.seed, epoch, self.ignore or 0, places)
        return self._scaled_maps(maps)[:, 0]

    def _scaled_maps(self, maps: Tensor) -> Tensor:
        if maps.shape[-2:] != sides(self.image_size):
            rows, columns = (
                ((torch.arange(wanted, device=maps.device).double() + 0.5) * side / wanted).long()
                for wanted, side in zip(sides(self.image_size), maps.shape[-2:], strict=True)
            )
            maps = maps[:, :, rows[:, None], columns[None, :]]
        return maps

    def _augmented(self, images: Tensor, indices: Tensor, epoch: int, fill: int = 0) -> Tensor:
        count, _, height, width = images.shape
        draw = bits(indices, self.seed, epoch)
        columns = torch.arange(width, device=images.device).expand(count, width)
        if self.augment in ("flip", "crop-flip"):
            columns = torch.where((draw & 1).bool()[:, None], width - 1 - columns, columns)
        rows = torch.arange(height, device=images.device).expand(count, height)
        if self.augment in ("crop", "crop-flip"):
            steps = 2 * self.padding + 1
            rows = rows + ((draw >> 8) & 0xFFFFFF)[:, None] % steps
            columns = columns + ((draw >> 32) & 0xFFFFFF)[:, None] % steps
            images = F.pad(images, (self.padding,) * 4, value=fill)
        each = torch.arange(count, device=images.device)[:, None, None]
        return images[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def scaled(pixels: Tensor, size: ImageSize) -> Tensor:
    """Images (N, C, H, W) of a floating dtype at another size: bilinear, antialiased where a side shrinks."""
    height, width = sides(size)
    if pixels.shape[-2:] == (height, width):
        return pixels
    shrinks = height < pixels.shape[-2] or width < pixels.shape[-1]
    return F.interpolate(pixels, size=(height, width), mode="bilinear", antialias=shrinks)


@lru_cache(maxsize=64)
def _shift_and_scale(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """What pixels are normalised by, (1, C, 1, 1) each: on the device already when the next batch comes."""
    with torch.inference_mode(False):
        shift = torch.tensor([-centre / spread for centre, spread in zip(mean, std, strict=True)])
        scale = torch.tensor([1 / (255 * spread) for spread in std])
        return tuple(values.float().view(1, -1, 1, 1).to(device) for values in (shift, scale))  # type: ignore[return-value]
