"""A recipe's data section as images on the device, in three parts."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from layerlink.config.image_size import largest, plain, sides
from layerlink.data import ImageSet, Source, Views, load_source, split
from layerlink.data.normalisation import normalisation
from layerlink.data.sources import SCALED
from layerlink.data.splits import few, labelled
from layerlink.lab.recipe.schema import Recipe


@dataclass(frozen=True)
class Images:
    """The three parts of a data set on the device, and how models see them.

    Args:
        train: to train on.
        validation: to select on.
        test: to read once, at the end.
        views: what the models get.
        stamp: what tells this data from other data: classes, counts, normalisation, a checksum of every part.
        bad: why images were left out, a sentence each (``data.skip_bad``).
        notes: what of the source is used as what.
        warnings: what of it is not read.
    """

    train: ImageSet
    validation: ImageSet
    test: ImageSet
    views: Views
    stamp: dict[str, Any]
    bad: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def sample(self) -> Tensor:
        """Two training images as models see them, to look at models with."""
        return self.views(self.train.images[:2])


def load_images(recipe: Recipe, device: torch.device) -> Images:
    """The recipe's data set, split, on ``device``.

    Raises:
        LayerlinkError: where it cannot be read or has too few images.
    """
    data = recipe.data
    # Of a folder's images as many pixels are kept as any model sees; its views scale them down.
    kept = largest(data.image_size, *recipe.teacher_sizes) if data.name in SCALED else data.image_size
    task = recipe.task.build()
    arguments = {"ignore": task.ignore, **data.arguments} if data.name == "segmentation" else data.arguments
    source = load_source(
        data.name,
        data.root,
        size=kept,
        download=data.download,
        skip_bad=data.skip_bad,
        most_pixels=data.most_pixels,
        arguments=arguments,
    )
    train, validation = _parts(source, recipe)
    if data.labelled is not None:
        chosen = labelled(train, data.labelled, data.split_seed)
        labels = task.partly_labelled().without_label(train.labels, chosen)
        train = replace(train, labels=labels)
    mean, std = normalisation(source.train.images, data.normalize)
    padding = round(
        data.crop_padding * sides(kept)[0] / sides(data.image_size)[0]
    )  # as far as without the teacher's pixels
    views = Views(data.image_size, mean, std, data.augment, recipe.seed, padding, task.ignore, data.more)
    stamp = {
        "classes": list(train.classes),
        "image_size": plain(data.image_size),
        "mean": list(mean),
        "std": list(std),
        "train": _checksum(train),
        "validation": _checksum(validation),
        "test": _checksum(source.test),
    }
    if data.labelled is not None:
        stamp["labelled"] = data.labelled
    train, validation, test = (part.to(device) for part in (train, validation, source.test))
    return Images(train, validation, test, views, stamp, source.bad, source.notes, source.warnings)


def _parts(source: Source, recipe: Recipe) -> tuple[ImageSet, ImageSet]:
    """What is trained on, and what is selected on: the source's own, or some that are kept apart."""
    data = recipe.data
    if source.validation is not None:
        return few(source.train, data.train_images, data.split_seed), source.validation
    count = int(data.validation) if data.validation >= 1 else round(data.validation * len(source.train))
    return split(source.train, validation=max(count, 1), train_images=data.train_images, seed=data.split_seed)


def _checksum(images: ImageSet) -> str:
    """The number of images and a CRC of pixels and labels, in order."""
    crc = zlib.crc32(images.labels.contiguous().numpy().data, zlib.crc32(images.images.contiguous().numpy().data))
    return f"{len(images)} images, crc32 {crc:08x}"
