from __future__ import annotations

import pytest
import torch
from torch import Tensor

from layerlink.data import ImageSet
from layerlink.errors import LayerlinkError

IMAGES = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            IMAGES.float(),
            torch.tensor([0, 1]),
            "images must be uint8 of shape (N, C, H, W); got torch.float32 (2, 3, 4, 4)",
        ),
        (IMAGES[0], torch.tensor([0, 1]), "images must be uint8 of shape (N, C, H, W); got torch.uint8 (3, 4, 4)"),
        (
            IMAGES,
            torch.tensor([0]),
            "labels must be int64 of shape (2,), or begin with it for other tasks than classification; got torch.int64 "
            "(1,)",
        ),
        (IMAGES, torch.tensor([0, 2]), "labels must lie in 0..1 (2 classes); got 0..2"),
        (IMAGES, torch.tensor([-2, 1]), "labels must lie in 0..1 (2 classes); got -2..1"),
    ],
)
def test_images_and_labels_that_do_not_fit_are_told(images: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(LayerlinkError) as caught:
        ImageSet(images, labels, ("cat", "dog"))
    assert str(caught.value) == message


def test_a_set_of_no_images_is_one() -> None:
    assert len(ImageSet(IMAGES[:0], torch.tensor([], dtype=torch.int64), ("cat",))) == 0
