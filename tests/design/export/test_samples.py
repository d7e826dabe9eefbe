from __future__ import annotations

import torch

from layerlink.data import ImageSet, Views
from layerlink.design.export.samples import as_seen, pixels, spread


def images(labels: list[int], classes: int) -> ImageSet:
    numbered = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return ImageSet(numbered, torch.tensor(labels), tuple(map(str, range(classes))))


def test_every_class_gives_as_many_and_none_only_its_first() -> None:
    chosen = spread(images([0] * 60 + [1] * 30 + [2] * 10, 3), 30)
    assert torch.bincount(chosen.labels).tolist() == [10, 10, 10]
    assert chosen.images[:10, 0, 0, 0].tolist() == list(range(0, 60, 6))


def test_what_a_small_class_lacks_the_others_give() -> None:
    chosen = spread(images([0] * 60 + [1] * 2, 2), 12)
    assert torch.bincount(chosen.labels).tolist() == [10, 2]
    assert len(spread(images([0] * 60 + [1] * 2, 2), 100)) == 62


def test_labels_that_are_numbers_are_spread_over_the_set() -> None:
    whole = images([0] * 50, 1)
    chosen = spread(ImageSet(whole.images, torch.rand(50), ("age",)), 5)
    assert chosen.images[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40]


def test_pixels_of_another_size_are_bytes_again_and_seen_as_the_views_see_them() -> None:
    raw = torch.randint(0, 256, (3, 2, 8, 8), dtype=torch.uint8)
    assert torch.equal(pixels(raw, 8), raw)
    larger = pixels(raw, 16)
    assert larger.shape == (3, 2, 16, 16)
    assert larger.dtype == torch.uint8
    views = Views(16, (0.5, 0.25), (0.5, 2.0), augment="flip")
    scaled = Views(16, (0.0, 0.0), (1.0, 1.0))(raw) * 255
    assert float((larger.float() - scaled).abs().max()) <= 0.5001
    by_hand = (larger.float() / 255 - torch.tensor([0.5, 0.25]).view(1, 2, 1, 1)) / torch.tensor([0.5, 2.0]).view(
        1, 2, 1, 1
    )
    assert torch.allclose(as_seen(larger, views), by_hand, atol=1e-6)
