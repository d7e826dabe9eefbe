"""Batches of several views."""

from __future__ import annotations

from dataclasses import replace

import torch

from layerlink.data import Batches, ImageSet, Views


def test_several_views_of_every_image_stand_one_after_the_other() -> None:
    images = ImageSet(torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8), torch.arange(6) % 2, ("a", "b"))
    views = Views(8, (0.0,) * 3, (1.0,) * 3, "crop-flip", seed=3, padding=2)
    one, both = (list(Batches(images, views, 4, seed=1, each=each).epoch(2)) for each in (1, 2))
    for first, batch in zip(one, both, strict=True):
        count = len(first.labels)
        assert torch.equal(batch.images[:count], first.images)  # the first view is that of before
        assert not torch.equal(batch.images[count:], first.images)
        assert torch.equal(batch.indices, first.indices.repeat(2))
        assert torch.equal(batch.labels, first.labels.repeat(2))
        again = replace(views, seed=3 + (1 << 32))(images.images[first.indices], first.indices, 2)
        assert torch.equal(batch.images[count:], again)
    assert [len(batch.labels) for batch in Batches(images, views, 4, each=2).in_order()] == [4, 2]
