"""Which images are kept apart: stratified, and the same on every machine for the same seed."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.data.examples import Examples, Some
from layerlink.errors import UsageError

FIXED_SEED = 1797
"""The seed of the test sets that layerlink keeps apart itself. It belongs to no recipe and never changes."""


def stratified_order(labels: Tensor, seed: int) -> Tensor:
    """A random order in which every prefix has the classes in nearly their overall proportions.

    The images are shuffled; the image that is then number r (from 0) of the n of its class gets the key
    (r + 1/2) / n, and the keys are sorted, equal ones in shuffled order. So the images up to any key t
    hold, of every class, t * n rounded to a whole number. With classes of equal size, each run of
    ``classes`` images holds each class once.

    Args:
        labels: (N,) int64, each >= 0.
        seed: of the shuffle; nothing else is random.

    Returns:
        (N,) int64 on the CPU, each of 0 .. N - 1 once.

    >>> labels = torch.tensor([0, 0, 0, 0, 1, 1])
    >>> labels[stratified_order(labels, seed=0)].tolist()
    [0, 1, 0, 0, 1, 0]
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    drawn = labels.cpu()[shuffled]
    counts = torch.bincount(drawn)
    by_class = torch.argsort(drawn, stable=True)
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)
    rank = torch.empty_like(drawn)
    rank[by_class] = torch.arange(len(drawn)) - first
    # float64 division rounds correctly, so equal fractions stay equal and keep their shuffled order.
    key = (rank.double() + 0.5) / counts[drawn].double()
    return shuffled[torch.argsort(key, stable=True)]


def strata(images: Examples) -> Tensor:
    """What images are spread over evenly, (N,) int64 >= 0: their classes, no class (-1) being one, too; one for all
    where they have none."""
    return (
        images.labels - images.labels.min().clamp(max=0)
        if images.has_classes and len(images)
        else torch.zeros(len(images), dtype=torch.int64)
    )


def labelled(images: Examples, count: int, seed: int) -> Tensor:
    """Which images keep their labels, where only so many have one: (N,) bool on the labels' device.

    They are spread over the classes as ``stratified_order`` does; a smaller number takes some of those of a larger one.

    Raises:
        UsageError: where there are not so many images.
    """
    if count > len(images):
        raise UsageError(f"labelled must be at most the {len(images)} training images; got {count}")
    chosen = torch.zeros(len(images), dtype=torch.bool)
    chosen[stratified_order(strata(images), seed)[:count]] = True
    return chosen.to(images.labels.device)


def few(images: Some, count: int | None, seed: int) -> Some:
    """So many of the images, stratified, in their order; all of them where no number is given.

    Raises:
        UsageError: where there are not so many.
    """
    if count is None:
        return images
    if count > len(images):
        raise UsageError(f"train_images must be at most {len(images)}; got {count}")
    return images.select(stratified_order(strata(images), seed)[:count].sort().values)


def split(source_train: Some, *, validation: int, train_images: int | None, seed: int) -> tuple[Some, Some]:
    """Parts the training images into those to learn from and those to select models on.

    Both parts are stratified (``stratified_order``) and keep the images in the order of ``source_train``.
    The validation images depend on ``validation`` and ``seed`` alone, not on ``train_images``; a smaller
    ``train_images`` takes some of those that a larger one takes.

    Args:
        source_train: the images that may be learned from.
        validation: how many are kept for validation, >= 1.
        train_images: how many of the others are learned from, >= 1; None for all of them.
        seed: of the order.

    Returns:
        (train, validation).

    Raises:
        UsageError: where there are not enough images, or a number is below 1.
    """
    total = len(source_train)
    if validation < 1:
        raise UsageError(f"validation must be at least 1 image; got {validation}")
    if validation >= total:
        raise UsageError(
            f"validation must leave images to train on; got {validation} of {total} images. Take at most {total - 1}."
        )
    rest = total - validation
    wanted = rest if train_images is None else train_images
    if wanted < 1:
        raise UsageError(f"train_images must be at least 1; got {wanted}")
    if wanted > rest:
        raise UsageError(
            f"train_images must be at most {rest} ({total} images less {validation} for validation); got {wanted}"
        )
    order = stratified_order(strata(source_train), seed)
    held = order[:validation].sort().values
    kept = order[validation : validation + wanted].sort().values
    return source_train.select(kept), source_train.select(held)


def hold_out(images: Some, count: int) -> tuple[Some, Some]:
    """(the rest, ``count`` test images), by the fixed stratified rule: ``stratified_order`` at ``FIXED_SEED``."""
    rest, test = split(images, validation=count, train_images=None, seed=FIXED_SEED)
    return rest, test
