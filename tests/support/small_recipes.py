"""Small recipes: scikit-learn's digits, narrow networks, float32 arithmetic; a run takes about a second."""

from __future__ import annotations

from pathlib import Path

from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train

NARROW = "arguments: {width: 0.05, batch_norm: true}"
CROP = "augment: crop, crop_padding: 1"


def recipe(model: str, images: int, validation: int, training: str, *more: str, data: str = "") -> str:
    """The text of a recipe.

    Args:
        model: the student.
        images: to train on.
        validation: to validate on.
        training: fields of its section.
        more: further lines, such as teacher, soft and links.
        data: further fields of its section.
    """
    fields = ", ".join(filter(None, ("name: digits, image_size: 32", f"train_images: {images}", data)))
    lines = [f"data: {{{fields}, validation: {validation}}}", f"student: {{model: {model}, {NARROW}}}", *more]
    return "\n".join([*lines, f"training: {{{training}}}", "precision: float32", ""])


def teacher(images: int = 256, validation: int = 100, epochs: int = 1) -> str:
    """The text of a recipe whose student is the others' teacher."""
    return recipe("vgg16", images, validation, f"epochs: {epochs}, batch_size: 64, lr: 0.02")


def finished_run(folder: Path) -> Path:
    """The folder of a run that trained a narrow VGG-7, made in ``folder``."""
    text = recipe("vgg7", 60, 20, "epochs: 1, batch_size: 30, lr: 0.01")
    train(set_up(load_recipe("own.yaml", text=text)), RunFolder(folder / "run"))
    return folder / "run"
