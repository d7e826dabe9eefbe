"""Batches: the examples of an epoch in a seeded order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from layerlink.config.image_size import ImageSize, sides, size_of
from layerlink.data.augment import Mixing
from layerlink.data.augment.augmentation import Places
from layerlink.data.augment.mixing import Mixed, mixed_images, mixed_labels, partners
from layerlink.data.copies import to_device
from layerlink.data.examples import Examples, Inputs, copied
from layerlink.data.text.views import TextViews
from layerlink.data.views import Views


@dataclass(frozen=True)
class Batch:
    """One step's images.

    Args:
        images: the views: of images (N, C, H, W) float32; of texts what their models take, by name.
        labels: (N,) int64, or as the task has them.
        indices: (N,) int64, their places in the image set.
        epoch: from 0; None in evaluation.
        step: from 0, within the epoch.
        whole: how many images the step has in all processes that train together; None where these are all.
        stand_in: there are fewer images than processes, and this one has another's, which counts there.
        sizes: the same views in other sizes, by their pixels, for teachers that were trained on such.
        places: the indices as the host knows them; None where it does not.
        together: all batches that make one update, this one among them; none where it makes one by itself.
    """

    images: Inputs
    labels: Tensor
    indices: Tensor
    epoch: int | None
    step: int
    whole: int | None = None
    stand_in: bool = False
    sizes: Mapping[ImageSize, Tensor] = field(default_factory=dict)
    places: Places | None = None
    together: tuple[Batch, ...] = ()

    @property
    def ends_update(self) -> bool:
        """Whether the weights change after it."""
        return not self.together or self.step == self.together[-1].step

    @property
    def inputs(self) -> Inputs | dict[ImageSize, Tensor]:
        """What teachers are called with: the images, or where some see other sizes all of them."""
        if self.sizes and isinstance(self.images, Tensor):
            return {size_of(*self.images.shape[-2:]): self.images, **self.sizes}
        return self.images

    def copied(self) -> Batch:
        """The same batch with inputs of its own: a student may work in place on what it gets."""
        return replace(self, images=copied(self.images))

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
        together: how many batches of an epoch make one update; what is left over at its end makes one, too.
    """

    images: Examples
    views: Views | TextViews
    batch_size: int
    seed: int = 0
    part: tuple[int, int] = (0, 1)
    each: int = 1
    sizes: tuple[ImageSize, ...] = ()
    mixing: Mixing | None = None
    together: int = 1

    def __len__(self) -> int:
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + 1 if rest > 1 or (rest and not whole) else whole

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The epoch's batches in random order, augmented, from ``first_step`` on."""
        generator = torch.Generator().manual_seed((self.seed << 20) + epoch)
        steps = self._cut(self.images.order(generator, self.batch_size), epoch, first_step, self.part)
        return steps if self.together == 1 else self._together(steps)

    def _together(self, steps: Iterator[Batch]) -> Iterator[Batch]:
        group: list[Batch] = []
        for batch in steps:
            group.append(batch)
            if (batch.step + 1) % self.together == 0 or batch.step + 1 == len(self):
                whole, group = tuple(group), []
                for it in whole:
                    yield replace(it, together=whole)

    def in_order(self) -> Iterator[Batch]:
        """Every image once, in the set's order, not augmented."""
        return self._cut(torch.arange(len(self.images)), None, 0, (0, 1))

    def _cut(self, order: Tensor, epoch: int | None, first_step: int, part: tuple[int, int]) -> Iterator[Batch]:
        views = [self.views.drawn(n) for n in range(1 if epoch is None else self.each)]
        steps: deque[_Step] = deque()
        asked = self._places(order, epoch, first_step, part, views, steps)
        for rows in self.images.ahead(asked, again=epoch is not None):
            step = steps.popleft()
            indices = step.indices
            made = [self._made(it, rows, step, number, epoch) for number, it in enumerate(views)]
            images, *sizes = (_joined([each[n] for each, _ in made]) for n in range(len(made[0][0])))
            labels = _joined([labels for _, labels in made])
            others = dict(zip(self.sizes, sizes, strict=False))
            indices = indices.repeat(len(views)) if len(views) > 1 else indices
            places = np.tile(step.places, len(views))
            yield Batch(images, labels, indices, epoch, step.number, step.whole, step.stand_in, others, places)

    def _places(
        self,
        order: Tensor,
        epoch: int | None,
        first_step: int,
        part: tuple[int, int],
        views: list[Any],
        steps: deque[_Step],
    ) -> Iterator[Tensor]:
        """The places of what each step reads: its examples, then those that they are mixed with; ``steps`` grows."""
        place, parts = part
        known, order = order.numpy(), to_device(order, self.images.labels.device)
        for number in range(first_step, len(self)):
            end = (number + 1) * self.batch_size if number + 1 < len(self) else len(known)
            first, count = number * self.batch_size, end - number * self.batch_size
            own = slice(first + place * count // parts, first + (place + 1) * count // parts)
            stand_in = own.start == own.stop
            if stand_in:  # models need an image to run on
                own = slice(first, first + 1)
            indices, places = order[own], known[own]
            mixed = [] if epoch is None else [self._mixed(it, indices, epoch) for it in views]
            kept = [it for it in mixed if it is not None]
            others = [partners(places, it.seed, epoch or 0, len(self.images)) for it in views] if kept else []
            steps.append(_Step(number, indices, places, None if parts == 1 else count, stand_in, kept, others))
            if self.images.read_on_host:
                yield torch.from_numpy(np.concatenate([places, *others]))
            else:
                yield torch.cat([indices, *(it.partner for it in kept)]) if kept else indices

    def _mixed(self, views: Any, indices: Tensor, epoch: int) -> Mixed | None:
        if self.mixing is None or not isinstance(views, Views):
            return None
        return self.mixing.drawn(indices, views.seed, epoch, len(self.images), sides(views.image_size))

    def _made(self, views: Any, rows: Any, step: _Step, number: int, epoch: int | None) -> tuple[list[Inputs], Tensor]:
        """One view of every example, in all sizes, and the labels."""
        sizes = self.sizes if epoch is not None else ()
        every = [views, *(views.of_size(size) for size in sizes if isinstance(views, Views))]

        def seen(rows: Any, indices: Tensor, places: Places) -> tuple[list[Inputs], Tensor]:
            taken, labels = self.images.parted(rows, indices)
            labels = views.labels(labels, indices, epoch, places)
            return [it(taken, indices, epoch, places) for it in every], labels

        if not step.mixed:
            return seen(rows, step.indices, step.places)
        count, how = len(step.indices), step.mixed[number]
        own, labels = seen(rows[:count], step.indices, step.places)
        others, their_labels = seen(
            rows[(number + 1) * count : (number + 2) * count], how.partner, step.partners[number]
        )
        images: list[Inputs] = [
            mixed_images(cast(Tensor, it), cast(Tensor, other), how) for it, other in zip(own, others, strict=True)
        ]
        return images, mixed_labels(labels, their_labels, how, len(self.images.classes))


@dataclass(frozen=True)
class _Step:
    """A step before its examples are read.

    Args:
        number: from 0, within the epoch.
        indices: places of the examples that count here.
        places: the same as the host knows them.
        whole: as of a batch.
        stand_in: as of a batch.
        mixed: how each view's images are mixed with others; empty where they are not.
        partners: the places of these others, as the host knows them.
    """

    number: int
    indices: Tensor
    places: Places
    whole: int | None
    stand_in: bool
    mixed: list[Mixed]
    partners: list[Places]


def _joined(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
