from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerlink.data.images import ImageSet
from layerlink.data.splits import hold_out, split, strata, stratified_order
from layerlink.errors import UsageError


def image_set(labels: torch.Tensor, classes: int) -> ImageSet:
    """Every image's pixel says which one it is."""
    images = torch.arange(len(labels)).to(torch.uint8).reshape(-1, 1, 1, 1)
    return ImageSet(images, labels, tuple(f"class {n}" for n in range(classes)))


def worst_deviation(labels: torch.Tensor, order: torch.Tensor) -> float:
    """How far any class, in any prefix, is from its proportion, in images; counted one prefix after another."""
    classes = labels.unique().tolist()
    share = {c: float((labels == c).double().mean()) for c in classes}
    seen = dict.fromkeys(classes, 0)
    worst = 0.0
    for length, index in enumerate(order.tolist(), start=1):
        seen[int(labels[index])] += 1
        worst = max(worst, *(abs(seen[c] - share[c] * length) for c in classes))
    return worst


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(0, 2**40))
def test_the_order_holds_every_index_once(labels: list[int], seed: int) -> None:
    order = stratified_order(torch.tensor(labels, dtype=torch.int64), seed)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(len(labels)))


def test_equal_classes_come_in_rounds() -> None:
    labels = torch.arange(10).repeat(30)
    drawn = labels[stratified_order(labels, 5)].reshape(30, 10)
    assert torch.equal(drawn.sort(dim=1).values, torch.arange(10).expand(30, 10))
    assert not torch.equal(drawn[0], drawn[1])


def test_every_prefix_is_near_the_proportions_and_a_plain_shuffle_is_not() -> None:
    labels = torch.cat([torch.full((n,), c) for c, n in enumerate((500, 300, 150, 49, 1))])
    assert worst_deviation(labels, stratified_order(labels, 3)) < 2.5
    # The measure itself tells a good order from a bad one.
    assert worst_deviation(labels, torch.randperm(len(labels))) > 5


def test_the_seed_decides_and_nothing_else() -> None:
    labels = torch.arange(7).repeat(20)
    one = stratified_order(labels, 1)
    torch.rand(3)
    assert torch.equal(one, stratified_order(labels, 1))
    assert not torch.equal(one, stratified_order(labels, 2))


def test_the_shuffle_uses_all_images_of_a_class() -> None:
    labels = torch.zeros(40, dtype=torch.int64)
    first = {int(stratified_order(labels, seed)[0]) for seed in range(100)}
    assert len(first) > 20


def test_split_keeps_the_parts_apart_and_in_order() -> None:
    images = image_set(torch.arange(10).repeat(20), 10)
    train, validation = split(images, validation=40, train_images=100, seed=0)
    there = train.images.flatten().tolist()
    held = validation.images.flatten().tolist()
    assert (len(there), len(held)) == (100, 40)
    assert not set(there) & set(held)
    assert there == sorted(there)
    assert held == sorted(held)
    assert train.labels.bincount().tolist() == [10] * 10
    assert validation.labels.bincount().tolist() == [4] * 10
    assert train.classes == images.classes


def test_validation_does_not_depend_on_train_images_and_less_is_part_of_more() -> None:
    images = image_set(torch.arange(5).repeat(40), 5)
    whole, held = split(images, validation=20, train_images=None, seed=9)
    some, held_too = split(images, validation=20, train_images=50, seed=9)
    assert len(whole) == 180
    assert torch.equal(held.images, held_too.images)
    assert set(some.images.flatten().tolist()) < set(whole.images.flatten().tolist())


@pytest.mark.parametrize(
    ("validation", "train_images", "message"),
    [
        (0, None, "validation must be at least 1 image; got 0"),
        (50, None, "validation must leave images to train on; got 50 of 50 images. Take at most 49."),
        (10, 0, "train_images must be at least 1; got 0"),
        (10, 41, "train_images must be at most 40 (50 images less 10 for validation); got 41"),
    ],
)
def test_impossible_sizes_are_told_with_their_numbers(validation: int, train_images: int | None, message: str) -> None:
    with pytest.raises(UsageError) as told:
        split(image_set(torch.arange(5).repeat(10), 5), validation=validation, train_images=train_images, seed=0)
    assert str(told.value) == message


FIXED = [3, 5, 18, 19, 26, 30, 31, 32, 37, 44]


def test_the_fixed_rule_is_the_same_on_every_machine() -> None:
    """Written down once; a change of torch's generator would change every kept-apart test set."""
    _, test = hold_out(image_set(torch.arange(10).repeat(5), 10), 10)
    assert test.images.flatten().tolist() == FIXED
    assert np.bincount(test.labels.numpy()).tolist() == [1] * 10


def test_examples_of_no_class_are_spread_as_those_of_a_class() -> None:
    labels = torch.tensor([-1, 0, 1, 1, -1, 0, 1, -1, 0] * 10)
    images = image_set(labels, 2)
    assert torch.equal(strata(images), labels + 1)
    assert torch.equal(strata(image_set(labels.clamp(min=0), 2)), labels.clamp(min=0))
    assert worst_deviation(labels + 1, stratified_order(strata(images), 3)) < 2.5
