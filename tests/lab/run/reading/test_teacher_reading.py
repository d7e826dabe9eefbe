"""The teacher is read first, and what is odd about it is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.reading.teacher_reading import read_teacher, teacher_findings
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.lab.run.training import train

RECIPE = """
data: {name: digits, image_size: 8, train_images: 600, validation: 200}
student: {model: "peoples_models:linear"}
training: {epochs: 6, batch_size: 50, lr: 0.1}
precision: float32
"""

Make = Callable[..., Setup]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("teacher")
    (folder / "teacher.yaml").write_text(RECIPE)
    run = RunFolder(folder / "run")
    train(set_up(load_recipe(str(folder / "teacher.yaml"))), run)
    return run


@pytest.fixture
def taught(teacher: RunFolder, tmp_path: Path) -> Make:
    def make(more: str = "", *overrides: str, model: nn.Module | None = None) -> Setup:
        file = tmp_path / "student.yaml"
        section = f'{{model: "peoples_models:linear", weights: {teacher.path}{more}}}'
        file.write_text(f"{RECIPE}teacher: {section}\nsoft: {{temperature: 2}}\n")
        return set_up(load_recipe(str(file), overrides), teacher=model)

    return make


def test_a_good_teacher_is_read_and_nothing_is_said(taught: Make, teacher: RunFolder) -> None:
    setup = taught()
    reading = read_teacher(setup)
    assert reading is not None
    assert reading.images == 200
    assert reading.value == pytest.approx(teacher.read_result()["validation_accuracy"])
    assert read_teacher(setup) is reading  # once
    assert list(teacher_findings(setup)) == []


def test_an_output_that_is_a_softmax_already_is_told(taught: Make) -> None:
    whole = taught().teachers[""]
    setup = taught(model=nn.Sequential(whole, nn.Softmax(1)))
    assert any("the teacher's output is a softmax already" in text for text in teacher_findings(setup))


def test_classes_in_another_order_are_told(taught: Make) -> None:
    class Turned(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.model(x).roll(3, 1)

    setup = taught(model=Turned(taught().teachers[""]))
    (said,) = teacher_findings(setup)
    assert "its classes are not in the data's order" in said


def test_a_teacher_at_chance_or_far_below_its_record_is_told(taught: Make) -> None:
    (said,) = teacher_findings(taught(model=nn.Sequential(nn.Flatten(), nn.Linear(64, 10))))
    assert "no better than chance" in said
    assert "normalised as it was trained with" in said
    half = taught().teachers[""]
    with torch.no_grad():
        half[1].weight[:, ::2] = 0
    (said,) = teacher_findings(taught(model=half))
    assert "its own run recorded" in said


def test_a_strict_recipe_ends_before_training(taught: Make, tmp_path: Path) -> None:
    setup = taught("", "strict=true", model=nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    with pytest.raises(Exception, match="no better than chance"):
        train(setup, RunFolder(tmp_path / "run"))
