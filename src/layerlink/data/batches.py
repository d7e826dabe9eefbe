"""Batches: the images of an epoch in a seeded order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from layerlink.config.image_size import ImageSize, sides, size_of
from layerlink.data.augment import Mixing
from layerlink.data.augment.mixing import mixed_images, mixed_labels
from layerlink.data.images import ImageSet
from layerlink.data.views import Views


@dataclass(frozen=True)
class Batch:
    """One step's images.

    Args:
        images: (N, C, H, W) float32, the views.
        labels: (N,) int64, or as the task has them.
        indices: (N,) int64, their places in the image set.
        epoch: from 0; None in evaluation.
        step: from 0, within the epoch.
        whole: how many images the step has in all processes that train together; None where these are all.
        stand_in: there are fewer images than processes, and this one has another's, which counts there.
        sizes: the same views in other sizes, by their pixels, for teachers that were trained on such.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    epoch: int | None
    step: int
    whole: int | None = None
    stand_in: bool = False
    sizes: Mapping[ImageSize, Tensor] = field(default_factory=dict)

    @property
    def inputs(self) -> Tensor | dict[ImageSize, Tensor]:
        """What teachers are called with: the images, or where some see other sizes all of them."""
        return {size_of(*self.images.shape[-2:]): self.images, **self.sizes} if self.sizes else self.images

    @property
    def count(self) -> int:
        """How many images the step has, in all processes."""
        return len(self.labels) if self.whole is None else self.whole

    @property
    def share(self) -> float:
        """The part of the step's images that counts here."""
        return 0.0 if self.stand_in else len(self.labels) / self.count


@dataclass(frozen=True)
class Batches:
    """Cuts an image set into batches. The last of an epoch may be smaller, but not a single image.

    A single image that is left over joins the batch before: batch normalisation cannot work on one.

    Args:
        images: the set, on the device to train on.
        views: what the models see.
        batch_size: in images, >= 1, of all processes together.
        seed: of the order, together with the epoch's number.
        part: which of how many equal parts of every batch of an epoch to give; the order is that of the whole.
        each: how many augmented views of every image a batch of an epoch holds: first one of all, then another of all.
        sizes: in which pixels, beside those of ``views``, a batch of an epoch holds its views.
        mixing: how a view of an epoch is made of two images; labels are probabilities then, or maps of both.
    """

    images: ImageSet
    views: Views
    batch_size: int
    seed: int = 0
    part: tuple[int, int] = (0, 1)
    each: int = 1
    sizes: tuple[ImageSize, ...] = ()
    mixing: Mixing | None = None

    def __len__(self) -> int:
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + 1 if rest > 1 or (rest and not whole) else whole

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The epoch's batches in random order, augmented, from ``first_step`` on."""
        generator = torch.Generator().manual_seed((self.seed << 20) + epoch)
        order = torch.randperm(len(self.images), generator=generator)
        return self._cut(order, epoch, first_step, self.part)

    def in_order(self) -> Iterator[Batch]:
        """Every image once, in the set's order, not augmented."""
        return self._cut(torch.arange(len(self.images)), None, 0, (0, 1))

    def _cut(self, order: Tensor, epoch: int | None, first_step: int, part: tuple[int, int]) -> Iterator[Batch]:
        place, parts = part
        order = order.to(self.images.labels.device)
        for step in range(first_step, len(self)):
            end = (step + 1) * self.batch_size if step + 1 < len(self) else None
            whole = order[step * self.batch_size : end]
            count = len(whole)
            indices = whole[place * count // parts : (place + 1) * count // parts]
            stand_in = not len(indices)
            if stand_in:  # models need an image to run on
                indices = whole[:1]
            whole_count, many = None if parts == 1 else count, 1 if epoch is None else self.each
            views = [
                self.views if not n else replace(self.views, seed=self.views.seed + (n << 32)) for n in range(many)
            ]
            made = [self._made(it, indices, epoch) for it in views]
            images, *sizes = (_joined([each[n] for each, _ in made]) for n in range(len(made[0][0])))
            labels = _joined([labels for _, labels in made])
            indices = indices.repeat(many) if many > 1 else indices
            others = dict(zip(self.sizes, sizes, strict=False))
            yield Batch(images, labels, indices, epoch, step, whole_count, stand_in, others)

    def _made(self, views: Views, indices: Tensor, epoch: int | None) -> tuple[list[Tensor], Tensor]:
        """One view of every image, in all sizes, and the labels."""
        every = [views.image_size, *(self.sizes if epoch is not None else ())]

        def seen(places: Tensor) -> tuple[list[Tensor], Tensor]:
            pixels, labels = self.images.images[places], self.images.labels[places]
            images = [replace(views, image_size=size)(pixels, places, epoch) for size in every]
            return images, views.labels(labels, places, epoch)

        images, labels = seen(indices)
        if self.mixing is None or epoch is None:
            return images, labels
        how = self.mixing.drawn(indices, views.seed, epoch, len(self.images), sides(views.image_size))
        others, their_labels = seen(how.partner)
        images = [mixed_images(own, other, how) for own, other in zip(images, others, strict=True)]
        return images, mixed_labels(labels, their_labels, how, len(self.images.classes))


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
