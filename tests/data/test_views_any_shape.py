"""Batches, views and splits of any size: every image once, the same view in any batch, finite values."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cases import cases
from layerlink.data import Batches, ImageSet, Views, channel_statistics
from layerlink.data.splits import split
from layerlink.errors import UsageError

AUGMENT = st.sampled_from(["none", "flip", "crop", "crop-flip"])


@st.composite
def image_sets(draw: st.DrawFn, most: int = 40) -> ImageSet:
    count, classes = draw(st.integers(1, most)), draw(st.integers(1, 5))
    shape = (count, draw(st.sampled_from([1, 3])), draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    if draw(st.booleans()):  # without any variation
        pixels = torch.full_like(pixels, draw(st.sampled_from([0, 255])))
    return ImageSet(pixels, torch.arange(count) % classes, tuple("abcde")[:classes])


@st.composite
def views_of(draw: st.DrawFn, images: ImageSet) -> Views:
    mean, std = channel_statistics(images.images)
    size = draw(st.integers(1, 24))
    return Views(size, mean, std, draw(AUGMENT), draw(st.integers(0, 2**31 - 1)), draw(st.integers(0, 64)))


@given(st.data(), image_sets(), st.integers(1, 50), st.integers(0, 99_999), st.integers(0, 2**31 - 1))
@cases(2)
def test_an_epoch_shows_every_image_once(
    data: st.DataObject, images: ImageSet, batch_size: int, epoch: int, seed: int
) -> None:
    views = data.draw(views_of(images))
    made = list(Batches(images, views, batch_size, seed).epoch(epoch))
    assert sorted(torch.cat([batch.indices for batch in made]).tolist()) == list(range(len(images)))
    assert [batch.step for batch in made] == list(range(len(Batches(images, views, batch_size, seed))))
    assert all(len(batch.labels) <= batch_size + 1 for batch in made)
    assert all(len(batch.labels) > 1 for batch in made) or len(images) == 1 or batch_size == 1
    for batch in made:
        assert batch.images.shape == (len(batch.labels), images.images.shape[1], views.image_size, views.image_size)
        assert batch.images.dtype == torch.float32
        assert bool(batch.images.isfinite().all())
        assert torch.equal(batch.labels, images.labels[batch.indices])


def alike(first: Tensor, second: Tensor) -> bool:
    # torch may add in another order where a batch is of another size.
    return torch.allclose(first, second, rtol=1e-5, atol=1e-4)


@given(st.data(), image_sets(), st.integers(0, 99_999))
@cases(2)
def test_a_view_is_the_same_in_any_batch(data: st.DataObject, images: ImageSet, epoch: int) -> None:
    views = data.draw(views_of(images))
    everything = torch.arange(len(images))
    whole = views(images.images, everything, epoch)
    some = torch.tensor(data.draw(st.lists(st.integers(0, len(images) - 1), min_size=1, max_size=8)))
    assert alike(views(images.images[some], some, epoch), whole[some])
    assert torch.equal(views(images.images, everything, epoch), whole)
    # Crop and flip move stored pixels; without scaling every value is one of the image's, or black.
    if views.image_size == images.images.shape[2] == images.images.shape[3]:
        plain = views(images.images)
        black = views(torch.zeros_like(images.images))
        there = torch.cat([plain.flatten(2), black.flatten(2)[..., :1]], dim=2)
        near = (whole.flatten(2)[..., :, None] - there[..., None, :]).abs().amin(dim=3)
        assert float(near.max()) < 1e-4


@given(image_sets(), st.integers(-2, 45), st.none() | st.integers(-2, 45), st.integers(0, 2**40))
@cases(2)
def test_a_split_parts_the_images_or_is_told(
    images: ImageSet, validation: int, train_images: int | None, seed: int
) -> None:
    numbered = ImageSet(
        torch.arange(len(images), dtype=torch.uint8).reshape(-1, 1, 1, 1), images.labels, images.classes
    )
    arguments: Any = {"validation": validation, "train_images": train_images, "seed": seed}
    rest = len(images) - validation
    if not 1 <= validation < len(images) or not 1 <= (rest if train_images is None else train_images) <= rest:
        try:
            split(numbered, **arguments)
        except UsageError as error:
            assert "must" in str(error)
            return
        raise AssertionError("an impossible split was made")
    train, held = split(numbered, **arguments)
    assert (len(train), len(held)) == (rest if train_images is None else train_images, validation)
    both = train.images.flatten().tolist() + held.images.flatten().tolist()
    assert len(set(both)) == len(both)
    assert torch.equal(held.labels, images.labels[held.images.flatten().long()])


@given(image_sets())
def test_statistics_of_any_images_can_be_divided_by(images: ImageSet) -> None:
    mean, std = channel_statistics(images.images)
    assert all(0 <= value <= 1 for value in mean)
    assert all(0 < value <= 1 for value in std)
