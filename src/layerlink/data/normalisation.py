"""Which mean and standard deviation a data set's views are normalised by; ``views.py`` subtracts and divides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from layerlink.config.image_size import ImageSize
from layerlink.data.views import scaled

Normalize = Literal["mean-std", "mean", "none"]
Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation, per channel


def normalisation(images: Tensor, normalize: Normalize) -> Statistics:
    """The mean to subtract and the standard deviation to divide by, per channel, in units where white is 1.

    Args:
        images: (N, C, H, W) uint8: of the whole training set, never the test set's, so that a teacher and a student
            with fewer images see the same pixels alike.
        normalize: "mean-std" does both; "mean" divides by 1; "none" also subtracts 0.
    """
    mean, std = channel_statistics(images)
    if normalize == "none":
        mean = tuple(0.0 for _ in mean)
    if normalize != "mean-std":
        std = tuple(1.0 for _ in std)
    return mean, std


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in units where white is 1.

    Args:
        images: (N, C, H, W) uint8, N >= 1.

    Returns:
        (mean, std), exact up to float64: computed from counts of the 256 values. A channel without any
        variation gets std 1, so that dividing by it is harmless.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    mean, std = [], []
    for channel in range(images.shape[1]):
        share = torch.bincount(images[:, channel].flatten(), minlength=256).double().cpu()
        share /= share.sum()
        centre = float((share * values).sum())
        spread = float((share * (values - centre) ** 2).sum().sqrt())
        mean.append(centre)
        std.append(spread or 1.0)
    return tuple(mean), tuple(std)


class Renormalised:
    """Images that are normalised one way, as another model was trained to see them: one product and sum a channel.

    What was padded in a view is the same shade for both. Called with (N, C, H, W), or with the same views in several
    sizes, by their pixels; gives that. Of sizes that it is not given it scales the first.

    Args:
        seen: mean and standard deviation that the images are normalised by, where white is 1.
        wanted: of the other model, as many channels.
        size: pixels of the other model, of a square or (height, width); None: as they are.
    """

    def __init__(self, seen: Statistics, wanted: Statistics, size: ImageSize | None = None) -> None:
        self.size = size
        self.scale = tuple(own / other for own, other in zip(seen[1], wanted[1], strict=True))
        self.shift = tuple((own - other) / std for own, other, std in zip(seen[0], wanted[0], wanted[1], strict=True))
        self._on_device: tuple[Tensor, Tensor] | None = None

    def __call__(self, images: Tensor | Mapping[ImageSize, Tensor]) -> Tensor:
        """The same images as the other model sees them."""
        if isinstance(images, Mapping):
            images = images.get(self.size or 0, next(iter(images.values())))
        if self.size is not None:
            images = scaled(images, self.size)
        known = self._on_device
        if known is None or known[0].device != images.device:
            scale, shift = (
                torch.tensor(values, device=images.device).view(-1, 1, 1) for values in (self.scale, self.shift)
            )
            known = self._on_device = scale, shift
        return torch.addcmul(known[1], images, known[0])
