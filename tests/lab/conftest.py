"""Small real runs: scikit-learn's digits, narrow networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import small_recipes
from layerlink.lab.recipe.file import LoadedRecipe, dump_recipe, load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from layerlink.lab.run.watch import Watch

STUDENT = small_recipes.recipe(
    "vgg7", 256, 100, "epochs: 3, batch_size: 64, lr: 0.02, ema: 0.5, clip_norm: 5", data=small_recipes.CROP
)
TEACHER = small_recipes.teacher()


@pytest.fixture(scope="session")
def teacher_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished teacher."""
    folder = tmp_path_factory.mktemp("teacher")
    (folder / "teacher.yaml").write_text(TEACHER)
    run = RunFolder(folder / "run")
    train(set_up(load_recipe(str(folder / "teacher.yaml"))), run)
    return run.path


@pytest.fixture
def recipe(tmp_path: Path, teacher_run: Path) -> Callable[..., LoadedRecipe]:
    """Makes a recipe; ``links=True`` adds the teacher, soft targets and two links."""

    def make(*overrides: str, links: bool = False, text: str = STUDENT) -> LoadedRecipe:
        if links:
            text += (
                f"teacher: {{model: vgg16, arguments: {{width: 0.05, batch_norm: true}}, weights: {teacher_run}}}\n"
                'soft: {temperature: 2}\nlinks: ["group2 : mse * 2", "group5 : mse"]\n'
            )
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return load_recipe(str(path), overrides)

    return make


class Notes(Watch):
    """A watch that remembers, and can do something at a step."""

    def __init__(self, at: tuple[int, int] | None = None, do: Callable[[], None] | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.at, self.do = at, do

    def begin(self, setup: Any, run: RunFolder, epoch: int) -> None:
        self.first_epoch = epoch

    def step(self, epoch: int, step: int, images: int, losses: Any) -> None:
        if (epoch, step) == self.at and self.do:
            self.do()

    def epoch(self, run: RunFolder, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def warn(self, text: str, run: RunFolder | None = None) -> None:
        self.warnings.append(text)


@pytest.fixture
def notes() -> type[Notes]:
    return Notes


@pytest.fixture
def fake_run() -> Callable[..., Path]:
    """Writes a run folder with numbers of one's choice, without training."""

    def write(folder: Path, seed: int, accuracy: float | None, *overrides: str, **more: Any) -> Path:
        folder.mkdir(parents=True)
        (folder / "raw.yaml").write_text(STUDENT)
        loaded = load_recipe(str(folder / "raw.yaml"), [f"seed={seed}", *overrides])
        (folder / "raw.yaml").unlink()
        run = RunFolder(folder)
        run.start(dump_recipe(loaded.recipe), {"layerlink": "0", "command": f"layerlink run x seed={seed}"}, {})
        if accuracy is None:
            return folder
        rows = [
            {"epoch": epoch, "hard": 2 / epoch, "validation_accuracy": accuracy - 9 / epoch, "seconds": 1.5}
            for epoch in (1, 2, 3)
        ]
        run.write_metrics(rows)
        result = {"test_accuracy": accuracy, "test_images": 400, "validation_accuracy": accuracy, "seed": seed}
        run.write_result({**result, "epoch": 3, "epochs": 3, "train_seconds": 4.5, **more})
        return folder

    return write


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory, teacher_run: Path) -> Path:
    """A folder of four real runs: labels alone and links, two seeds each."""
    folder = tmp_path_factory.mktemp("study")
    taught = (
        f"teacher: {{model: vgg16, arguments: {{width: 0.05, batch_norm: true}}, weights: {teacher_run}}}\n"
        'soft: {temperature: 2}\nlinks: ["group2 : mse * 2", "group5 : mse"]\n'
    )
    for name, text in (("labels only", STUDENT), ("links", STUDENT + taught)):
        (folder / f"{name}.yaml").write_text(text)
        for seed in (0, 1):
            loaded = load_recipe(str(folder / f"{name}.yaml"), [f"seed={seed}", "training.epochs=2"])
            train(set_up(loaded), RunFolder(folder / "runs" / f"{name}-{seed}"))
    return folder / "runs"
