"""Views: what the models see of an image. Made on the device, per batch, the same again for the same numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Augment = Literal["none", "flip", "crop", "crop-flip"]

# Multipliers of splitmix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators"), as
# signed 64-bit integers: torch has no unsigned arithmetic, and its int64 product wraps around on every device.
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX2 = 0x94D049BB133111EB - (1 << 64)


@dataclass(frozen=True)
class Views:
    """Crop, flip, scale and normalise.

    The augmentation of an image depends on (seed, epoch, image) alone: not on the batch it is in, the order, or
    the device. Crop and flip happen on the stored pixels, before scaling.

    Args:
        image_size: height and width in pixels that the models get.
        mean: per channel, in units where white is 1; subtracted.
        std: per channel, in the same units; divided by.
        augment: "none"; "flip", left-right with probability 1/2; "crop", a shift by up to ``padding`` pixels
            each way, black where nothing was; "crop-flip", both.
        seed: of the augmentation.
        padding: in stored pixels.
        ignore: the label of pixels that a shift brings into a map of labels; None: 0.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augment = "none"
    seed: int = 0
    padding: int = 4
    ignore: int | None = None

    def __call__(self, images: Tensor, indices: Tensor | None = None, epoch: int | None = None) -> Tensor:
        """The view of a batch.

        Args:
            images: (N, C, H, W) uint8.
            indices: (N,) int64, which images of the data set these are; None for the plain view.
            epoch: from 0; None for the plain view, without augmentation.

        Returns:
            (N, C, image_size, image_size) float32 in channels-last memory.
        """
        if self.augment != "none" and epoch is not None and indices is not None:
            images = self._augmented(images, indices, epoch)
        pixels = images.to(torch.float32, memory_format=torch.channels_last)
        if pixels.shape[-2:] != (self.image_size, self.image_size):
            shrinks = self.image_size < min(pixels.shape[-2:])
            pixels = F.interpolate(pixels, size=(self.image_size, self.image_size), mode="bilinear", antialias=shrinks)
        shift, scale = _shift_and_scale(self.mean, self.std, pixels.device)
        return torch.addcmul(shift, pixels, scale).contiguous(memory_format=torch.channels_last)

    def labels(self, labels: Tensor, indices: Tensor | None = None, epoch: int | None = None) -> Tensor:
        """What becomes of labels as images become views: maps (N, H, W) go along, all others stay as they are.

        Args:
            labels: (N, ...), as in ``ImageSet``.
            indices: as in a call.
            epoch: as in a call.

        Returns:
            Maps (N, image_size, image_size), by the nearest pixel.
        """
        if labels.ndim != 3:
            return labels
        maps = labels[:, None]
        if self.augment != "none" and epoch is not None and indices is not None:
            maps = self._augmented(maps, indices, epoch, self.ignore or 0)
        height, width = maps.shape[-2:]
        if (height, width) != (self.image_size, self.image_size):
            places = torch.arange(self.image_size, device=maps.device).double() + 0.5
            rows, columns = ((places * side / self.image_size).long() for side in (height, width))
            maps = maps[:, :, rows[:, None], columns[None, :]]
        return maps[:, 0]

    def _augmented(self, images: Tensor, indices: Tensor, epoch: int, fill: int = 0) -> Tensor:
        count, _, height, width = images.shape
        draw = _hash(indices, self.seed, epoch)
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


def _hash(indices: Tensor, seed: int, epoch: int) -> Tensor:
    """63 random bits for every index: two rounds of splitmix64 over (seed, epoch, index)."""
    state = _mix(torch.full_like(indices, seed) * _GOLDEN + epoch)
    return _mix(state + (indices + 1) * _GOLDEN) & 0x7FFFFFFFFFFFFFFF


def _mix(state: Tensor) -> Tensor:
    state = (state ^ _logical_shift(state, 30)) * _MIX1
    state = (state ^ _logical_shift(state, 27)) * _MIX2
    return state ^ _logical_shift(state, 31)


def _logical_shift(state: Tensor, bits: int) -> Tensor:
    """Shift right filling with zeros; torch's own shift of int64 fills with the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


@lru_cache(maxsize=64)
def _shift_and_scale(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """What pixels are normalised by, (1, C, 1, 1) each: on the device already when the next batch comes."""
    with torch.inference_mode(False):
        shift = torch.tensor([-centre / spread for centre, spread in zip(mean, std, strict=True)])
        scale = torch.tensor([1 / (255 * spread) for spread in std])
        return tuple(values.float().view(1, -1, 1, 1).to(device) for values in (shift, scale))  # type: ignore[return-value]
