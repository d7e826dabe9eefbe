"""Examples that stand for a data set: every class, and the whole of it; images in their pixels."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from layerlink.config.image_size import ImageSize, sides
from layerlink.data import Views
from layerlink.data.examples import Some
from layerlink.data.views import scaled


def spread(examples: Some, count: int) -> Some:
    """At most ``count`` examples, as many of every class as there are or as fit, each class's from its whole length.

    Args:
        examples: of classes, or with other labels: then evenly from the whole set.
        count: >= 1.
    """
    if len(examples) <= count:
        return examples
    device = examples.labels.device
    if not examples.has_classes:
        return examples.select(_evenly(torch.arange(len(examples)), count).to(device))
    labels = examples.labels.cpu()
    places = [torch.nonzero(labels == label)[:, 0] for label in torch.unique(labels)]
    shares = _shares([len(it) for it in places], count)
    chosen = torch.cat([_evenly(it, share) for it, share in zip(places, shares, strict=True)]).sort().values
    return examples.select(chosen.to(device))


def _shares(sizes: list[int], count: int) -> list[int]:
    """How many of each, as equal as the sizes let them be; together ``count``, or all."""
    shares = [0] * len(sizes)
    left = count
    while left and any(share < size for share, size in zip(shares, sizes, strict=True)):
        open_ones = [n for n, size in enumerate(sizes) if shares[n] < size]
        each = max(left // len(open_ones), 1)
        for n in open_ones:
            more = min(each, sizes[n] - shares[n], left)
            shares[n] += more
            left -= more
    return shares


def _evenly(places: Tensor, count: int) -> Tensor:
    return places[torch.arange(count) * len(places) // max(count, 1)]


def pixels(images: Tensor, size: ImageSize) -> Tensor:
    """Images (N, C, H, W) uint8 of a size, as uint8 on the CPU, scaled as ``Views`` does and rounded."""
    images = images.cpu()
    if images.shape[-2:] == sides(size):
        return images
    return scaled(images.float(), size).round().clamp(0, 255).to(torch.uint8)


def as_seen(images: Tensor, views: Views) -> Tensor:
    """Images as a student sees them, as they lie in memory where nothing is known of channels last."""
    plain = dataclasses.replace(views, augment="none")
    return plain(images).contiguous(memory_format=torch.contiguous_format)
