"""A store of a teacher's logits is of its views: whatever is drawn for them tells it from other stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.lab.run.teaching.keys import StoreKeys
from layerlink.lab.run.training import train
from layerlink.taps import OUTPUT
from layerlink.teachers import FrozenTeacher


def setup_of(tmp_path: Path, data: str) -> Setup:
    file = tmp_path / "r.yaml"
    file.write_text(
        f"data: {{name: digits, image_size: 16, train_images: 60, {data}}}\n"
        "teacher: {model: resnet8, arguments: {width: 0.25}, weights: own, store: auto}\n"
        "student: {model: resnet8, arguments: {width: 0.25}}\nsoft: {}\ntraining: {epochs: 2, batch_size: 20}\n"
        "precision: float32\n"
    )
    return set_up(load_recipe(str(file)))


def key(setup: Setup) -> object:
    assert isinstance(setup.taught_by, FrozenTeacher)
    return StoreKeys.of(setup, setup.taught_by.observed).key(OUTPUT, "float32", 1)["view"]


def test_what_is_drawn_stands_in_the_key(tmp_path: Path) -> None:
    found = [
        key(setup_of(tmp_path, data))
        for data in ("augment: crop", "augment: crop, cutout: 0.3", "augment: crop, cutout: 0.5", "rescale: [0.8, 1.2]")
    ]
    assert len({str(each) for each in found}) == 4
    assert found[0] == {"augment": "crop", "seed": 0, "crop_padding": 4, "epoch": 1}


@pytest.mark.parametrize("data", ["cutout: 0.4", "randaugment: [1, 5], resized_crop: [0.5, 1]"])
def test_a_stored_view_is_the_live_one(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERLINK_CACHE", str(tmp_path / "cache"))
    live = train(setup_of(tmp_path, data), RunFolder(tmp_path / "keeps"))
    stores = list((tmp_path / "cache" / "stores").iterdir())
    assert len(stores) == 2  # of two epochs
    stored = train(setup_of(tmp_path, data), RunFolder(tmp_path / "reads"))
    assert stored["first_losses"] == live["first_losses"]
    assert (tmp_path / "keeps/student.safetensors").read_bytes() == (
        tmp_path / "reads/student.safetensors"
    ).read_bytes()
