"""Windows into stored images, each scaled to the view's size: random resized crops, random scales."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from layerlink.config.image_size import ImageSize, sides


@dataclass(frozen=True)
class Windows:
    """Of every image of a batch the part that its view shows, in stored pixels; it may reach beyond the image.

    Args:
        top: (N,) float64, where it begins.
        left: the same from the left.
        height: (N,) float64.
        width: the same.
        most: the largest height and width that any window of the data set may have: the number of pixels that are
            summed follows from it, so that it is the same for every batch.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    most: tuple[float, float]


def sampled(images: Tensor, windows: Windows, size: ImageSize) -> Tensor:
    """The windows of images, scaled to a size: bilinear, antialiased where they shrink; black beyond the image.

    A pixel of the view is a mean of stored pixels, weighted by a triangle as wide as two of its own pixels, or of
    stored ones where these are larger; what lies beyond the image has no weight.

    Args:
        images: (N, C, H, W) of any dtype.
        windows: of each.
        size: of the views.

    Returns:
        (N, C, height, width) float32.
    """
    height, width = sides(size)
    found = images.float()
    for axis, start, length, out, most in (
        (2, windows.top, windows.height, height, windows.most[0]),
        (3, windows.left, windows.width, width, windows.most[1]),
    ):
        found = _along(found, axis, start, length, out, most)
    return found


def nearest(maps: Tensor, windows: Windows, size: ImageSize, fill: int) -> Tensor:
    """The windows of maps of labels (N, H, W), by the nearest pixel; ``fill`` beyond the image."""
    height, width = sides(size)
    rows, inside_rows = _places(windows.top, windows.height, height, maps.shape[1])
    columns, inside_columns = _places(windows.left, windows.width, width, maps.shape[2])
    each = torch.arange(len(maps), device=maps.device)[:, None, None]
    found = maps[each, rows[:, :, None], columns[:, None, :]]
    inside = inside_rows[:, :, None] & inside_columns[:, None, :]
    return torch.where(inside, found, torch.full_like(found, fill))


def _places(start: Tensor, length: Tensor, out: int, side: int) -> tuple[Tensor, Tensor]:
    """Which stored pixel each pixel of the view has its centre in, and whether there is one: (N, out)."""
    places = (start[:, None] + _centres(length, out)).floor().long()
    return places.clamp(0, side - 1), (places >= 0) & (places < side)


def _centres(length: Tensor, out: int) -> Tensor:
    steps = torch.arange(out, device=length.device, dtype=torch.float64) + 0.5
    return steps[None, :] * (length / out)[:, None]


def _along(images: Tensor, axis: int, start: Tensor, length: Tensor, out: int, most: float) -> Tensor:
    side = images.shape[axis]
    centres = start[:, None] + _centres(length, out)
    reach = (length / out).clamp_min(1.0)[:, None]
    first = (centres - reach - 0.5).ceil()
    shape = [len(images), 1, 1, 1]
    shape[axis] = out
    whole = list(images.shape)
    whole[axis] = out
    total = torch.zeros_like(centres)
    found = images.new_zeros(whole)
    # One after the other, and never as a product of matrices: a sum in a fixed order has the same bits in any batch.
    for step in range(math.ceil(2 * max(most / out, 1.0)) + 1):
        place = first + step
        weight = (1 - (place + 0.5 - centres).abs() / reach).clamp_min(0) * ((place >= 0) & (place < side))
        total = total + weight
        rows = place.clamp(0, side - 1).long().view(shape).expand(whole)
        found = found + images.gather(axis, rows) * weight.float().view(shape)
    inside = (centres >= 0) & (centres < side)
    share = torch.where(inside, 1 / total.clamp_min(1e-9), torch.zeros_like(total))
    return found * share.float().view(shape)
