"""Labelled images as they lie in memory: uint8, so that a whole data set fits on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from layerlink.errors import LayerlinkError

UNLABELLED = -1  # the class of an image that has none that is known


@dataclass(frozen=True)
class ImageSet:
    """Images of one size, each with its label.

    Args:
        images: (N, C, H, W) uint8.
        labels: (N,) int64, each in ``0 .. len(classes) - 1``. Of other tasks than classification what they say of an
            example: (N, K) of K labels, maps (N, H, W), numbers (N,) or (N, K) of a floating dtype.
        classes: the names of classes, labels or numbers, in their order.

    Raises:
        LayerlinkError: where shapes, dtypes or label values do not fit together.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise LayerlinkError(
                f"images must be uint8 of shape (N, C, H, W); got {self.images.dtype} {tuple(self.images.shape)}"
            )
        if self.labels.shape[:1] != self.images.shape[:1] or self.labels.is_complex():
            raise LayerlinkError(
                f"labels must be int64 of shape ({len(self.images)},), or begin with it for other tasks than "
                f"classification; got {self.labels.dtype} {tuple(self.labels.shape)}"
            )
        if self.has_classes and len(self.labels):
            low, high = int(self.labels.min()), int(self.labels.max())
            if low < UNLABELLED or high >= len(self.classes):
                raise LayerlinkError(
                    f"labels must lie in 0..{len(self.classes) - 1} ({len(self.classes)} classes); got {low}..{high}"
                )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_classes(self) -> bool:
        """Whether every image has one class, or none that is known."""
        return self.labels.ndim == 1 and not self.labels.is_floating_point()

    def select(self, indices: Tensor) -> ImageSet:
        """The images at ``indices`` (int64, any order), as a set of their own."""
        return ImageSet(self.images[indices], self.labels[indices], self.classes)

    def to(self, device: torch.device) -> ImageSet:
        """The same set on ``device``."""
        return ImageSet(self.images.to(device), self.labels.to(device), self.classes)


@dataclass(frozen=True)
class Source:
    """A data set as published: what may be learned from, and what is read once at the end.

    Args:
        train: images to train and to validate on.
        test: the official test set, or one that is kept apart by a fixed rule.
        bad: why images were left out, a sentence each; only where that was asked for.
        validation: images to validate on, where the source has such; None: some of ``train`` are kept for that.
        notes: what is used as what, a sentence each.
        warnings: what is not read, a sentence each.
    """

    train: ImageSet
    test: ImageSet
    bad: tuple[str, ...] = ()
    validation: ImageSet | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
