"""The shipped study recipes on real images: full-width networks, a few minutes. Run by make test-long."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.learning.learner import NotFiniteError
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train

SMALL = ["data.train_images=4000", "data.validation=1000", "training.epochs=1"]


@pytest.fixture(scope="module")
def teacher(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = RunFolder(tmp_path_factory.mktemp("study") / "vgg16-0")
    train(
        set_up(load_recipe("study/vgg16", [*SMALL, "training.epochs=2", f"data.root={shared / 'data/cifar10'}"])), run
    )
    return run.path


@pytest.mark.long
def test_the_shipped_link_recipe_trains(teacher: Path, shared: Path, tmp_path: Path) -> None:
    overrides = [*SMALL, f"teacher.weights={teacher}", f"data.root={shared / 'data/cifar10'}"]
    run = RunFolder(tmp_path / "run")
    train(set_up(load_recipe("study/vgg7-links", overrides)), run)
    (row,) = run.read_metrics()
    assert float(row["validation_accuracy"]) > 15  # chance: 10
    assert not run.warnings.exists()


@pytest.mark.long
def test_links_that_are_far_too_heavy_kill_the_student_and_that_is_reported(
    teacher: Path, shared: Path, tmp_path: Path
) -> None:
    overrides = [
        *SMALL,
        f"teacher.weights={teacher}",
        f"data.root={shared / 'data/cifar10'}",
        "training.clip_norm=null",
    ]
    links = "links=[" + ", ".join(f'"group{index} : mse * 400"' for index in (2, 3, 4, 5)) + "]"
    run = RunFolder(tmp_path / "run")
    try:
        train(set_up(load_recipe("study/vgg7-links", [*overrides, links])), run)
        told = run.warnings.read_text()
    except NotFiniteError as error:
        told = str(error)
    assert "training.clip_norm=5" in told
