from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from layerlink.data import Batches, ImageSet, Views
from layerlink.data.augment import Augmentation, Mixing
from layerlink.data.augment.draws import PURPOSES, uniform
from layerlink.data.augment.windows import Windows, nearest, sampled

COUNT, HEIGHT, WIDTH = 24, 20, 30
EVERY = {
    "resized crop": Augmentation(resized_crop=(0.2, 1.0)),
    "rescale": Augmentation(rescale=(0.5, 2.0)),
    "colour": Augmentation(colour=(0.4, 0.4, 0.4, 0.2)),
    "randaugment": Augmentation(randaugment=(3, 9)),
    "cutout": Augmentation(cutout=0.5),
    "all": Augmentation(rescale=(0.5, 2.0), colour=(0.4, 0.4, 0.4, 0.2), randaugment=(2, 9), cutout=0.5),
}


def stored(maps: bool = False) -> ImageSet:
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (COUNT, 3, HEIGHT, WIDTH), dtype=torch.uint8, generator=draw)
    shape = (COUNT, HEIGHT, WIDTH) if maps else (COUNT,)
    labels = torch.randint(0, 5, shape, generator=draw)
    return ImageSet(images, labels.to(torch.uint8) if maps else labels, tuple("abcde"))


def views(more: Augmentation | None, size: int | tuple[int, int] = (16, 24), seed: int = 3, **others: object) -> Views:
    return Views(size, (0.0,) * 3, (1.0,) * 3, "crop-flip", seed, ignore=9, more=more, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize("more", EVERY.values(), ids=EVERY)
def test_a_view_depends_on_seed_epoch_and_image_alone(more: Augmentation) -> None:
    data, places = stored(maps=True), torch.arange(COUNT)
    see = views(more)
    images, maps = see(data.images, places, 2), see.labels(data.labels, places, 2)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    for batch in (order, order[:1], order[5:12]):
        assert torch.equal(see(data.images[batch], batch, 2), images[batch])
        assert torch.equal(see.labels(data.labels[batch], batch, 2), maps[batch])
    assert not torch.equal(see(data.images, places, 3), images)
    assert not torch.equal(views(more, seed=4)(data.images, places, 2), images)
    assert images.shape == (COUNT, 3, 16, 24)
    assert maps.shape == (COUNT, 16, 24)
    assert torch.equal(see(data.images), views(None)(data.images))  # without an epoch nothing is drawn
    assert torch.equal(see.labels(data.labels), views(None).labels(data.labels))


@pytest.mark.parametrize("mixing", [None, Mixing(mixup=0.4), Mixing(cutmix=1.0), Mixing(0.4, 1.0)], ids=str)
def test_order_resume_processes_and_batch_size_do_not_change_a_view(mixing: Mixing | None) -> None:
    data = stored()

    def seen(batch_size: int, parts: int = 1, first: int = 0) -> dict[int, tuple[Tensor, Tensor]]:
        found = {}
        for part in range(parts):
            each = Batches(data, views(EVERY["all"]), batch_size, 0, (part, parts), mixing=mixing)
            for batch in each.epoch(1, first):
                found |= {
                    int(place): (image, label)
                    for place, image, label in zip(batch.indices, batch.images, batch.labels, strict=True)
                }
        return found

    whole = seen(8)
    assert len(whole) == COUNT
    for other in (seen(5), seen(8, parts=2), seen(8, first=2)):
        assert other
        for place, (image, label) in other.items():
            assert torch.equal(image, whole[place][0])
            assert torch.equal(label, whole[place][1])


@pytest.mark.parametrize("name", ["resized crop", "rescale", "cutout"])
def test_images_and_maps_move_together(name: str) -> None:
    """A map that says of every pixel in which eighth of the image it lies, beside an image that says the same."""
    places = (torch.arange(32) // 4).view(1, 32).expand(32, 32)
    maps = places[None].expand(COUNT, 32, 32).to(torch.uint8)
    images = (maps * 30 + 20)[:, None]
    see = Views(64, (0.0,), (1.0,), "flip", ignore=9, more=EVERY[name])
    indices = torch.arange(COUNT)
    image, labels = see(images, indices, 0)[:, 0] * 255, see.labels(maps, indices, 0)
    expected = labels.float() * 30 + 20
    there = labels != 9
    # Where colours of two eighths meet the image holds a mean of both.
    near = (image - expected).abs() <= 30
    assert bool((near | ~there).all())
    assert float(((image - expected).abs() < 1)[there].float().mean()) > 0.6
    assert float(image[~there].abs().max() if (~there).any() else 0) < 1e-3
    assert bool((~there).any()) == (name != "resized crop")


def test_a_window_is_pillows_resize_of_a_box() -> None:
    data = stored().images[:3]
    windows = Windows(*(torch.tensor(it).double() for it in ([3.5, 0, 10], [2.25, 0, 7], [10, 20, 9.5], [20.5, 30, 5])),
                      (20.0, 30.0))  # fmt: skip
    found = sampled(data, windows, (8, 12))
    for n in range(3):
        top, left, high, wide = (float(it[n]) for it in (windows.top, windows.left, windows.height, windows.width))
        for channel in range(3):
            image = Image.fromarray(data[n, channel].numpy()).convert("F")
            box = (left, top, left + wide, top + high)
            expected = np.asarray(image.resize((12, 8), Image.Resampling.BILINEAR, box=box))
            assert np.abs(found[n, channel].numpy() - expected).max() < 1e-3


def test_beyond_an_image_is_black_and_ignored() -> None:
    double = Windows(*(torch.tensor([it]).double() for it in (-10.0, -15.0, 40.0, 60.0)), (40.0, 60.0))
    image = sampled(torch.full((1, 1, 20, 30), 200, dtype=torch.uint8), double, (40, 60))[0, 0]
    labels = nearest(torch.ones(1, 20, 30, dtype=torch.uint8), double, (40, 60), 255)[0]
    inside = torch.zeros(40, 60, dtype=torch.bool)
    inside[10:30, 15:45] = True
    assert torch.equal(labels == 1, inside)
    assert torch.equal(labels == 255, ~inside)
    assert float(image[~inside].abs().max()) == 0
    assert torch.allclose(image[inside], torch.tensor(200.0))


def test_shares_of_area_and_erased_pixels_are_as_asked() -> None:
    indices = torch.arange(4000)
    images = torch.zeros(4000, 1, 16, 16, dtype=torch.uint8)
    windows = Augmentation(resized_crop=(0.25, 0.75), crop_ratio=(1.0, 1.0)).windows(images, indices, 0, 0, 16)
    assert windows is not None
    share = windows.height * windows.width / 256
    assert 0.25 <= float(share.min()) < 0.26
    assert 0.74 < float(share.max()) <= 0.75
    assert abs(float(share.mean()) - 0.5) < 0.01  # 4 standard deviations of the mean are 0.009
    assert torch.allclose(windows.height, windows.width)
    assert bool((windows.top >= 0).all())
    assert bool((windows.top + windows.height <= 16 + 1e-9).all())
    ones = Views(16, (0.0,), (1.0,), more=Augmentation(cutout=0.5))(images + 255, indices, 0)
    erased = (ones == 0).float().sum((1, 2, 3))
    assert int(erased.max()) == 64  # half of both sides, where it lies within
    assert int(erased.min()) == 16  # a quarter of that in a corner
    # The mean share of each side: 8 pixels but for what lies outside, 1/4 of a half at both ends.
    assert abs(float(erased.mean()) - (8 * 0.875) ** 2) < 1


def test_views_of_other_sizes_show_the_same() -> None:
    draw = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (COUNT, 3, 4, 4), generator=draw).float()
    smooth = torch.nn.functional.interpolate(coarse, size=64, mode="bicubic").clamp(0, 255).to(torch.uint8)
    more = Augmentation(resized_crop=(0.3, 1.0), colour=(0.3, 0.3, 0.3, 0.1))
    indices = torch.arange(COUNT)
    large, small = (Views(size, (0.0,) * 3, (1.0,) * 3, "flip", more=more)(smooth, indices, 0) for size in (64, 32))
    assert float((torch.nn.functional.avg_pool2d(large, 2) - small).abs().mean()) < 0.02


def test_draws_are_even_and_apart() -> None:
    indices = torch.arange(20_000)
    every = torch.stack([uniform(indices, 5, 2, purpose) for purpose in list(PURPOSES)[:12]])
    assert float(every.min()) >= 0
    assert float(every.max()) < 1
    assert bool(((every.mean(1) - 0.5).abs() < 0.01).all())
    apart = torch.corrcoef(every) - torch.eye(len(every), dtype=torch.float64)
    assert float(apart.abs().max()) < 0.035  # five standard deviations
