"""layerlink: its recipe, and what ``layerlink run`` does, with images that are there already."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from common import Steps, network, run

from layerlink.cli.process.memory import keep_freed_memory
from layerlink.data import ImageSet, Views
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.images import Images
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train as train_run
from layerlink.lab.run.watch import Watch


class Told(Watch):
    """Passes steps on."""

    def __init__(self, told: Steps) -> None:
        self.told = told

    def step(self, epoch, step, images, losses):
        self.told(losses.total.item())


def recipe(*changes: str) -> LoadedRecipe:
    return load_recipe(str(Path(__file__).with_name("layerlink.yaml")), changes)


def images(folder: Path) -> Images:
    """All of them for training, few for validation and test."""
    import torch

    pixels, labels = torch.load(folder / "pixels.pt")
    part = ImageSet(pixels, labels, tuple("0123456789"))
    few = ImageSet(pixels[:128], labels[:128], tuple("0123456789"))
    views = Views(32, (0.5,) * 3, (0.25,) * 3, "none", 0, 4)
    told = {"train": "random", "image_size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
    return Images(part, few, few, views, told)


def train(folder: Path, told: Steps, how: str) -> None:
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        changes = [f"teacher.weights={folder / 'teacher.safetensors'}"]
        changes += [f"teacher.store.root={place}/store"] * (how == "stored")
        changes += ["precision=float32"] * (how == "float32")
        student = network(folder, "student")
        setup = set_up(recipe(*changes), student=student, images=images(folder))
        os.chdir(place)
        train_run(setup, RunFolder(Path(place) / "run"), watch=Told(told))


if __name__ == "__main__":
    run(train)
