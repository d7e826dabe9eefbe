"""A recipe's data section as examples on the device, in three parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from layerlink.config.image_size import largest, sides, size_of
from layerlink.data import Examples, ImageSet, Source, TextViews, Views, load_source, split
from layerlink.data.examples import Inputs
from layerlink.data.images import images_of
from layerlink.data.normalisation import Statistics, normalisation
from layerlink.data.sources.table import SCALED
from layerlink.data.splits import few, labelled
from layerlink.data.stream.images import Streaming, pixel_bytes
from layerlink.data.stream.maps import StreamedPairs
from layerlink.data.stream.unlabelled import unlabelled_files, usable, with_unlabelled
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.recipe.texts import TEXT
from layerlink.lab.run.setup.texts import texts_of
from layerlink.tasks import Task


@dataclass(frozen=True)
class Images:
    """The three parts of a data set, of images or of texts, on the device, and how models see them.

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

    train: Examples
    validation: Examples
    test: Examples
    views: Views | TextViews
    stamp: dict[str, Any]
    bad: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def sample(self) -> Inputs:
        """Two training examples as models see them, to look at models with."""
        return self.seen(self.train, slice(0, 2))

    def seen(self, part: Examples, places: torch.Tensor | slice) -> Inputs:
        """Examples of a part as models see them, not augmented."""
        return self.views(part.rows(places))

    @property
    def pixels(self) -> tuple[ImageSet, Views]:
        """The training images and their views.

        Raises:
            UsageError: where they are no images.
        """
        train = images_of(self.train, "what was asked for")
        assert isinstance(self.views, Views)  # noqa: S101 - for the type checker: images have such views
        return train, self.views

    @property
    def statistics(self) -> Statistics:
        """Mean and standard deviation that the images are normalised by.

        Raises:
            UsageError: where they are no images.
        """
        views = self.pixels[1]
        return views.mean, views.std

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.train.labels.device


def load_images(recipe: Recipe, device: torch.device) -> Images:
    """The recipe's data set, split, on ``device``.

    Raises:
        LayerlinkError: where it cannot be read or has too few examples.
    """
    data, task = recipe.data, recipe.task.build()
    source: Source
    views: Views | TextViews
    more = [] if data.unlabelled is None else unlabelled_files(data.unlabelled)
    source, views = texts_of(recipe) if data.name == TEXT else _pictures(recipe, task, len(more))
    train, validation = _parts(source, recipe)
    bad = source.bad
    if more and data.skip_bad:
        more, of_more = usable(more, size_of(*images_of(train, "data.unlabelled").images.shape[-2:]), data.most_pixels)
        bad = (*bad, *of_more)
    train = _partly_labelled(train, more, recipe, task)
    stamp = {
        "classes": list(train.classes),
        **views.facts(),
        "train": train.checksum,
        "validation": validation.checksum,
        "test": source.test.checksum,
    }
    if data.labelled is not None:
        stamp["labelled"] = data.labelled
    train, validation, test = (part.to(device) for part in (train, validation, source.test))
    return Images(train, validation, test, views, stamp, bad, source.notes, source.warnings)


def _partly_labelled(train: Examples, more: list[Path], recipe: Recipe, task: Task) -> Examples:
    """The training examples, of which few may have labels; ``more`` images without any behind them."""
    data = recipe.data
    if not data.partly_labelled:
        return train
    chosen = torch.ones(len(train), dtype=torch.bool)
    if data.labelled is not None:
        chosen = labelled(train, data.labelled, data.split_seed)
    if more:
        train = with_unlabelled(images_of(train, "data.unlabelled"), more, _streaming(recipe), data.most_pixels)
        chosen = torch.cat((chosen, chosen.new_zeros(len(train) - len(chosen))))
    task = task.partly_labelled()
    if isinstance(train, StreamedPairs):
        return train.known_where(chosen, int(task.no_label))
    return train.relabelled(task.without_label(train.labels, chosen))


def _streaming(recipe: Recipe) -> Streaming:
    return Streaming(round(recipe.data.memory_gb * 1e9), recipe.data.workers)


def _pictures(recipe: Recipe, task: Task, unlabelled: int) -> tuple[Source, Views]:
    """The images, streamed where ``unlabelled`` others leave no room for them, and how models see them."""
    data, streaming = recipe.data, _streaming(recipe)
    # Of a folder's images as many pixels are kept as any model sees; its views scale them down.
    kept = largest(data.image_size, *recipe.teacher_sizes) if data.name in SCALED else data.image_size
    arguments = {"ignore": task.ignore, **data.arguments} if data.name == "segmentation" else data.arguments
    source = load_source(
        data.name,
        data.root,
        size=kept,
        download=data.download,
        skip_bad=data.skip_bad,
        most_pixels=data.most_pixels,
        arguments=arguments,
        streaming=replace(streaming, memory=streaming.memory - pixel_bytes(unlabelled, kept)),
    )
    mean, std = normalisation(images_of(source.train, "training").for_statistics(), data.normalize)
    # As far as without the teacher's pixels.
    padding = round(data.crop_padding * sides(kept)[0] / sides(data.image_size)[0])
    return source, Views(data.image_size, mean, std, data.augment, recipe.seed, padding, task.ignore, data.more)


def _parts(source: Source, recipe: Recipe) -> tuple[Examples, Examples]:
    """What is trained on, and what is selected on: the source's own, or some that are kept apart."""
    data = recipe.data
    if source.validation is not None:
        return few(source.train, data.train_images, data.split_seed), source.validation
    count = int(data.validation) if data.validation >= 1 else round(data.validation * len(source.train))
    return split(source.train, validation=max(count, 1), train_images=data.train_images, seed=data.split_seed)
