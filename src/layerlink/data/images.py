"""Labelled images as they lie in memory: uint8, so that a whole data set fits on the device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from layerlink.data.examples import UNLABELLED, Examples
from layerlink.errors import LayerlinkError, UsageError

__all__ = ["UNLABELLED", "ImageSet", "Source", "images_of"]


@dataclass(frozen=True)
class ImageSet(Examples):
    """Images of one size, each with its label.

    Args:
        images: (N, C, H, W) uint8.
        labels: (N,) int64, each in ``0 .. len(classes) - 1``. Of other tasks than classification what they say of an
            example: (N, K) of K labels, maps (N, H, W), numbers (N,) or (N, K) of a floating dtype.
        classes: the names of classes, labels or numbers, in their order.

    Raises:
        LayerlinkError: where shapes, dtypes or label values do not fit together.
    """

    noun: ClassVar[str] = "images"
    exactly: ClassVar[str] = "pixel for pixel"
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise LayerlinkError(
                f"images must be uint8 of shape (N, C, H, W); got {self.images.dtype} {tuple(self.images.shape)}"
            )
        self.check_labels(len(self.images))

    def rows(self, places: Tensor | slice) -> Tensor:
        """Pixels (n, C, H, W) uint8."""
        return self.images[places]

    def select(self, places: Tensor | slice) -> ImageSet:
        """The images at ``places`` (int64, any order, or a slice), as a set of their own."""
        return ImageSet(self.images[places], self.labels[places], self.classes)

    def for_statistics(self) -> Tensor:
        """The pixels (n, C, H, W) that mean and standard deviation are taken of: here all of them."""
        return self.images

    def tensors(self) -> dict[str, Tensor]:
        """The pixels."""
        return {"images": self.images}

    def digests(self) -> list[bytes]:
        """Of every image a digest of its pixels."""
        rows = self.images.cpu().contiguous().flatten(1).numpy()
        return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]

    def to(self, device: torch.device) -> ImageSet:
        """The same set on ``device``."""
        return ImageSet(self.images.to(device), self.labels.to(device), self.classes)


def images_of(examples: Examples, what: str) -> ImageSet:
    """The examples, where they are images.

    Args:
        examples: of any kind.
        what: needs images, the subject of the error's sentence.

    Raises:
        UsageError: where they are something else.
    """
    if not isinstance(examples, ImageSet):
        raise UsageError(f"{what} works on images; these are {examples.noun}")
    return examples


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

    train: Examples
    test: Examples
    bad: tuple[str, ...] = ()
    validation: Examples | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
