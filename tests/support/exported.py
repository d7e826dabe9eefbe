"""A finished run of a narrow student to be exported, trained in about a second."""

from __future__ import annotations

from pathlib import Path

import small_recipes
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train

RECIPE = small_recipes.recipe(
    "vgg7",
    256,
    64,
    "epochs: 2, batch_size: 32, lr: 0.02",
    "teacher: {model: vgg16, arguments: {width: 0.05, batch_norm: true}, weights: own}",
    "soft: {temperature: 2}",
    'links: ["group3 : mse, adapter=auto"]',
)


def finished_run(folder: Path, recipe: str = RECIPE) -> Path:
    """A run of ``recipe`` in ``folder``."""
    file = folder / "recipe-of-the-run.yaml"
    file.write_text(recipe)
    train(set_up(load_recipe(str(file))), RunFolder(folder / "run"))
    return folder / "run"
