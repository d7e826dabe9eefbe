"""What changes the colours of views, each by a number of its own. Values are 0 to 255."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def grey(images: Tensor) -> Tensor:
    """(N, 1, H, W): the luma of RGB, elsewhere the channels' mean."""
    if images.shape[1] != 3:
        return sum(images[:, n : n + 1] for n in range(images.shape[1])) / images.shape[1]  # type: ignore[return-value]
    red, green, blue = (images[:, n : n + 1] * _LUMA[n] for n in range(3))
    return red + green + blue


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Times (N,) factors."""
    return _blend(images, torch.zeros_like(images[:, :1]), factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Away from, or to, the mean grey of each image."""
    luma = grey(images).round().long()
    # A sum of whole numbers is the same in any order, so that the view does not depend on its batch.
    mean = luma.sum((1, 2, 3)).double() / luma[0].numel()
    return _blend(images, mean.float().view(-1, 1, 1, 1), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Away from, or to, each pixel's grey; of one channel nothing changes."""
    return images if images.shape[1] == 1 else _blend(images, grey(images), factor)


def hue(images: Tensor, turn: Tensor) -> Tensor:
    """Colours turned in the plane of YIQ's chroma by (N,) parts of a whole turn; of other channels than RGB none."""
    if images.shape[1] != 3:
        return images
    red, green, blue = (images[:, n : n + 1] for n in range(3))
    luma, one, two = (row[0] * red + row[1] * green + row[2] * blue for row in _TO_YIQ)
    angle = (2 * math.pi * turn).view(-1, 1, 1, 1)
    cosine, sine = angle.cos().float(), angle.sin().float()
    one, two = cosine * one - sine * two, sine * one + cosine * two
    turned = (
        luma + 0.956 * one + 0.621 * two,
        luma - 0.272 * one - 0.647 * two,
        luma - 1.107 * one + 1.704 * two,
    )
    return torch.cat(turned, dim=1).clamp(0, 255)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Away from, or to, each image's blur: 3x3 with 5 in the middle of ones; the border stays."""
    blurred = images.clone()
    height, width = images.shape[-2:]
    around = sum(
        images[:, :, top : top + height - 2, left : left + width - 2] * (5.0 if top == left == 1 else 1.0)
        for top in range(3)
        for left in range(3)
    )
    blurred[:, :, 1:-1, 1:-1] = around / 13
    return _blend(images, blurred, factor)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Values of (N,) thresholds or more are turned over."""
    return torch.where(images >= threshold.float().view(-1, 1, 1, 1), 255 - images, images)


def posterize(images: Tensor, kept: Tensor) -> Tensor:
    """Only the (N,) highest bits of 8 are kept."""
    step = (2.0 ** (8 - kept.double().round())).float().view(-1, 1, 1, 1)
    return (images.round() / step).floor() * step


def autocontrast(images: Tensor) -> Tensor:
    """Every channel stretched to 0..255; one without any difference stays."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    stretched = (images - low) * (255 / (high - low).clamp_min(1e-6))
    return torch.where(high > low, stretched.clamp(0, 255), images)


def equalize(images: Tensor) -> Tensor:
    """Every channel's values by their rank: as many pixels in every part of 0..255."""
    count, channels, height, width = images.shape
    values = images.round().clamp(0, 255).long().reshape(count * channels, -1)
    counts = torch.zeros(count * channels, 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, values, torch.ones_like(values))
    below = counts.cumsum(1)
    least = torch.where(counts > 0, below, below[:, -1:]).amin(1, keepdim=True)  # of the darkest value that is there
    left = below[:, -1:] - least
    table = ((below - least).double() * 255 / left.clamp_min(1)).round().float()
    found = table.gather(1, values).view(count, channels, height, width)
    return torch.where((left > 0).view(count, channels, 1, 1), found, images)


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    share = factor.float().view(-1, 1, 1, 1)
    return (share * images + (1 - share) * other).clamp(0, 255)
