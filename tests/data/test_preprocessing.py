from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from layerlink.data import Views
from layerlink.data.formats.decode import BadImageError
from layerlink.data.preprocessing import Normalised, Preprocessing
from layerlink.errors import UsageError

RGB = Preprocessing(8, (0.5, 0.25, 0.1), (0.2, 0.3, 0.4))


def test_the_model_gets_what_it_was_validated_on() -> None:
    images = torch.randint(256, (3, 3, 20, 12), dtype=torch.uint8)
    expected = Views(8, RGB.mean, RGB.std, augment="crop-flip", seed=3)(images)  # without an epoch: the plain view
    assert torch.equal(RGB(images), expected)
    same_size = torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    by_hand = (same_size.double().numpy() / 255 - np.reshape(RGB.mean, (3, 1, 1))) / np.reshape(RGB.std, (3, 1, 1))
    np.testing.assert_allclose(RGB(same_size).numpy(), by_hand, atol=1e-6)
    inside = Normalised(torch.nn.Identity(), RGB)
    np.testing.assert_allclose(inside(same_size).numpy(), by_hand, atol=1e-6)


def test_files_are_read_upright_and_cut_to_their_centre(tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 8:24] = (200, 100, 50)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    inside = RGB.read(tmp_path / "wide.png")[:, 1:-1, 1:-1]  # at the edges of the square black is scaled in
    assert torch.equal(inside, torch.tensor([200, 100, 50], dtype=torch.uint8).view(3, 1, 1).expand(3, 6, 6))
    grey = Preprocessing(8, (0.5,), (1.0,)).read(tmp_path / "wide.png")
    assert grey.shape == (1, 8, 8)
    assert set(grey[:, 1:-1, 1:-1].flatten().tolist()) == {round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)}
    (tmp_path / "no.png").write_bytes(b"no image")
    with pytest.raises(BadImageError, match="do not decode"):
        RGB.read(tmp_path / "no.png")
    with pytest.raises(UsageError, match="takes 2 channels"):
        Preprocessing(8, (0.0, 0.0), (1.0, 1.0)).read(tmp_path / "wide.png")


def test_facts_come_back_and_others_are_refused() -> None:
    facts = json.loads(json.dumps(RGB.facts()))
    assert Preprocessing.of(facts) == RGB
    assert RGB.channels == 3
    for wrong in (
        {**facts, "image_size": 0},
        {**facts, "image_size": True},
        {**facts, "mean": [0.5]},
        {**facts, "std": [0.2, 0.3, 0.0]},
        {**facts, "std": [0.2, 0.3, float("nan")]},
        {**facts, "mean": "abc"},
        [],
        None,
    ):
        with pytest.raises(ValueError, match=r"must be|is a mapping"):
            Preprocessing.of(wrong)
    assert dataclasses.replace(RGB, image_size=9).facts()["image_size"] == 9
