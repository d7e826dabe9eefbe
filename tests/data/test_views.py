from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from layerlink.data import Batches, ImageSet, Views, channel_statistics
from layerlink.data.augment.draws import bits

MASK = (1 << 64) - 1


def images(count: int = 12, channels: int = 3, size: int = 8) -> Tensor:
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8)


def plain(size: int = 8, augment: str = "none", **more: object) -> Views:
    return Views(size, (0.0,) * 3, (1.0,) * 3, augment, **more)  # type: ignore[arg-type]


def splitmix64(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def test_the_hash_is_splitmix64_in_python_integers() -> None:
    golden = 0x9E3779B97F4A7C15
    for seed, epoch, index in ((0, 0, 0), (1, 2, 3), (2**30, 99_999, 2**31)):
        state = splitmix64((seed * golden + epoch) & MASK)
        expected = splitmix64((state + (index + 1) * golden) & MASK) & (MASK >> 1)
        assert int(bits(torch.tensor([index]), seed, epoch)) == expected


def test_a_plain_view_is_normalised_pixels() -> None:
    pixels = images()
    view = Views(8, (0.5, 0.4, 0.3), (0.2, 0.25, 0.1))(pixels)
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.25, 0.1]).view(3, 1, 1)
    assert torch.allclose(view, (pixels / 255 - mean) / std, atol=1e-5)
    assert view.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [32, 4])
def test_scaling_is_bilinear(size: int) -> None:
    pixels = images()
    expected = F.interpolate(pixels.float() / 255, size=(size, size), mode="bilinear", antialias=size < 8)
    assert torch.allclose(plain(size)(pixels), expected, atol=1e-5)


@pytest.mark.parametrize("augment", ["flip", "crop", "crop-flip"])
def test_a_view_depends_on_seed_epoch_and_image_alone(augment: str) -> None:
    pixels, indices = images(40), torch.arange(40) + 1000
    views = plain(augment=augment, seed=5)
    whole = views(pixels, indices, 3)
    order = torch.randperm(40)
    assert torch.equal(views(pixels[order], indices[order], 3), whole[order])
    assert torch.equal(torch.cat([views(pixels[i : i + 7], indices[i : i + 7], 3) for i in range(0, 40, 7)]), whole)
    assert not torch.equal(views(pixels, indices, 4), whole)
    assert not torch.equal(views(pixels, indices + 1, 3), whole)
    assert not torch.equal(plain(augment=augment, seed=6)(pixels, indices, 3), whole)
    assert torch.equal(views(pixels), plain()(pixels))  # no epoch: the plain view


def test_a_flip_is_left_right_for_about_half_of_the_images() -> None:
    pixels, indices = images(4000, size=2), torch.arange(4000)
    view = plain(2, "flip")(pixels, indices, 0)
    original, mirrored = pixels / 255, pixels.flip(3) / 255
    flipped = (view - mirrored).abs().amax(dim=(1, 2, 3)) < 1e-6
    kept = (view - original).abs().amax(dim=(1, 2, 3)) < 1e-6
    assert bool((flipped | kept).all())
    assert 0.46 < float(flipped.float().mean()) < 0.54  # 5 standard deviations


def test_a_crop_is_a_shift_with_black_borders_and_every_shift_is_as_likely() -> None:
    count = 9 * 400
    pixels = torch.full((count, 1, 5, 5), 255, dtype=torch.uint8)
    pixels[:, :, 2, 2] = 100  # a mark in the middle
    view = Views(5, (0.0,), (1.0,), "crop", padding=1)(pixels, torch.arange(count), 0)
    mark = (view - 100 / 255).abs() < 1e-6
    assert bool((mark.sum(dim=(1, 2, 3)) == 1).all())
    places = mark.sum(dim=(0, 1))[1:4, 1:4].flatten()
    assert int(places.sum()) == count
    assert float(((places - 400) ** 2 / 400).sum()) < 26.1  # chi-square with 8 degrees of freedom, p = 0.001
    first_row_black = (view[:, 0, 0] == 0).all(dim=1)
    assert torch.equal(first_row_black, mark[:, 0, 3].any(dim=1))


def test_statistics_are_the_definitions() -> None:
    pixels = images(50)
    mean, std = channel_statistics(pixels)
    values = pixels.double() / 255
    assert mean == pytest.approx(values.mean(dim=(0, 2, 3)).tolist(), rel=1e-12)
    assert std == pytest.approx(values.std(dim=(0, 2, 3), correction=0).tolist(), rel=1e-12)
    assert channel_statistics(torch.zeros(2, 1, 4, 4, dtype=torch.uint8)) == ((0.0,), (1.0,))


def batches(count: int = 50, size: int = 16, **views: object) -> Batches:
    pixels = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 3, 8, 8)
    return Batches(ImageSet(pixels, torch.arange(count) % 5, tuple("abcde")), plain(**views), size, seed=1)


def test_an_epoch_has_every_image_once_in_an_order_of_its_own() -> None:
    maker = batches()
    epochs = [torch.cat([batch.indices for batch in maker.epoch(epoch)]) for epoch in (0, 0, 1)]
    assert len(maker) == 4
    assert sorted(epochs[0].tolist()) == list(range(50))
    assert torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], epochs[2])
    other = Batches(maker.images, maker.views, 16, seed=2)
    assert not torch.equal(torch.cat([batch.indices for batch in other.epoch(0)]), epochs[0])


def test_images_labels_and_indices_belong_together() -> None:
    for batch in batches().epoch(0):
        assert torch.allclose(batch.images[:, 0, 0, 0] * 255, batch.indices.float(), atol=1e-3)
        assert torch.equal(batch.labels, batch.indices % 5)


def test_an_epoch_can_be_entered_in_the_middle() -> None:
    maker = batches(augment="crop-flip")
    whole, rest = list(maker.epoch(2)), list(maker.epoch(2, first_step=2))
    assert [batch.step for batch in rest] == [2, 3]
    assert all(torch.equal(a.images, b.images) for a, b in zip(whole[2:], rest, strict=True))


def test_in_order_is_plain_and_complete() -> None:
    found = list(batches(augment="crop-flip").in_order())
    assert torch.equal(torch.cat([batch.indices for batch in found]), torch.arange(50))
    assert found[0].epoch is None
