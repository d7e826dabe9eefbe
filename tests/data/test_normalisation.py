from __future__ import annotations

import numpy as np
import pytest
import torch

from layerlink.data import normalisation


def test_each_way_is_that_of_numpy() -> None:
    images = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)
    values = images.numpy() / 255
    mean, std = normalisation(images, "mean-std")
    assert mean == pytest.approx(values.mean(axis=(0, 2, 3)).tolist())
    assert std == pytest.approx(np.std(values, axis=(0, 2, 3)).tolist())
    assert normalisation(images, "mean") == (mean, (1.0, 1.0, 1.0))
    assert normalisation(images, "none") == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
