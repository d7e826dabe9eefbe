from __future__ import annotations

import numpy as np
import pytest
import torch

from layerlink.data import normalisation
from layerlink.data.normalisation import Renormalised, Statistics


def test_each_way_is_that_of_numpy() -> None:
    images = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)
    values = images.numpy() / 255
    mean, std = normalisation(images, "mean-std")
    assert mean == pytest.approx(values.mean(axis=(0, 2, 3)).tolist())
    assert std == pytest.approx(np.std(values, axis=(0, 2, 3)).tolist())
    assert normalisation(images, "mean") == (mean, (1.0, 1.0, 1.0))
    assert normalisation(images, "none") == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_renormalised_images_are_those_of_another_models_own_normalisation() -> None:
    white = torch.rand(4, 3, 5, 5, dtype=torch.float64)
    seen, wanted = ((0.4, 0.5, 0.6), (0.2, 0.3, 0.1)), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    def normalised(statistics: Statistics) -> torch.Tensor:
        mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in statistics)
        return (white - mean) / std

    view = Renormalised(seen, wanted)
    for images in (normalised(seen).float(), normalised(seen).float().to(memory_format=torch.channels_last)):
        found = view(images)
        assert torch.allclose(found.double(), normalised(wanted), atol=1e-5)
        assert found.stride() == images.stride()
