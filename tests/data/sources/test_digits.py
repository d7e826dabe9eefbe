from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as published

from layerlink.data.sources.digits import load_digits
from layerlink.errors import LayerlinkError


def test_counts_shapes_and_classes() -> None:
    source = load_digits()
    assert source.train.images.shape == (1437, 1, 8, 8)
    assert source.test.images.shape == (360, 1, 8, 8)
    assert source.train.classes == source.test.classes == tuple("0123456789")
    assert set(source.test.labels.bincount().tolist()) <= {35, 36, 37}


def test_train_and_test_are_the_published_images_each_once() -> None:
    source = load_digits()
    bunch = published()
    ours = torch.cat([source.train.images, source.test.images]).flatten(1).numpy()
    labels = torch.cat([source.train.labels, source.test.labels]).numpy()
    # 255 / 16 = 15.9375; the table is written out so that it shares nothing with the code.
    table = np.array([0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255])
    theirs = table[bunch.data.astype(int)]
    rows = sorted((*image, label) for image, label in zip(ours.tolist(), labels.tolist(), strict=True))
    assert rows == sorted((*image, label) for image, label in zip(theirs.tolist(), bunch.target.tolist(), strict=True))


def test_a_pixel_by_hand() -> None:
    """The first scan, a 0, begins 0 0 5 13 9 1 0 0; 5 -> 79.69 -> 80, 13 -> 207.19 -> 207, 9 -> 143.44 -> 143."""
    source = load_digits()
    row = torch.tensor([0, 0, 80, 207, 143, 16, 0, 0], dtype=torch.uint8)
    both = torch.cat([source.train.images, source.test.images])
    labels = torch.cat([source.train.labels, source.test.labels])
    assert 0 in labels[(both[:, 0, 0] == row).all(dim=1)].tolist()


def test_the_test_set_is_the_same_every_time() -> None:
    torch.manual_seed(1)
    one = load_digits()
    torch.manual_seed(2)
    two = load_digits(size=32, download=True)
    assert torch.equal(one.test.images, two.test.images)


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(LayerlinkError, match=r"pip install 'layerlink\[digits\]'"):
        load_digits()
