"""A step that failed, made again from its run's folder: whose values overflowed first."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.replay.replaying import replay_run
from layerlink.lab.replay.step import step_from
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.kept_fault import read_fault
from layerlink.lab.run.learning.learner import Learner, NotFiniteError
from layerlink.lab.run.ownership import ForeignCodeError
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.teaching.cohort_teacher import CohortTeacher
from layerlink.lab.run.training import train, train_cohort
from layerlink.lab.run.watch import Watch

Make = Callable[..., LoadedRecipe]
STEEP = '''
import torch
from torch import nn


class Steep(nn.Module):
    """Overflows at its sixth batch, for images of which it takes much."""

    def __init__(self):
        super().__init__()
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        if not self.training:
            return x
        self.batches += 1
        much = (x.flatten(1).sum(1) > x.flatten(1).sum(1).median()) & (self.batches == 6)
        return x * torch.where(much, torch.inf, 1.0).view(-1, 1, 1, 1)


def net(num_classes=10, dropout=0.2):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU(), Steep(), nn.Dropout(dropout),
        nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    )


class Square(nn.Module):
    def forward(self, x):
        return x + (x * 1e30) ** 2 * 0


def with_square(num_classes=10):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=4), Square(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)
    )
'''
TEXT = """\
data: {name: digits, image_size: 32, train_images: 256, augment: crop, crop_padding: 1, validation: 100}
student: {model: "steep:net"}
training: {epochs: 3, batch_size: 64, lr: 0.02}
precision: float32
"""


@pytest.fixture
def steep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "steep.py").write_text(STEEP)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture
def failed(recipe: Make, steep: None, tmp_path: Path) -> RunFolder:
    """A run whose sixth step (epoch 2, step 2) overflowed in a layer of the student."""
    run = RunFolder(tmp_path / "run")
    with pytest.raises(NotFiniteError, match=r"epoch 2, step 2: hard = nan.*overflowed first: layerlink replay "):
        train(set_up(recipe(text=TEXT)), run)
    return run


def test_a_step_that_overflowed_names_the_layer_and_the_images(failed: RunFolder) -> None:
    found = replay_run(failed)
    assert (found.place, found.steps, found.examples) == ((1, 1), 4, 64)
    assert found.came_from in ("checkpoint.pt, and the steps since", "the beginning, and all steps since")
    assert found.seen.first.startswith("the student's 3 (Steep) gave nan in 32 of 64 images (training images ")
    assert math.isnan(found.seen.terms["hard"])
    assert math.isnan(found.seen.total)
    assert found.beside is None  # the run is in float32 already
    assert not found.notes
    assert "epoch 2, step 2: hard = nan" in found.said
    steep = next(it for it in found.seen.readings if it.layer == "3")
    assert math.isfinite(steep.taken)
    order = torch.randperm(256, generator=torch.Generator().manual_seed(1))  # of the recipe's second epoch
    indices = order[64:128].tolist()
    assert ", ".join(str(indices[row]) for row in steep.images[:5]) in found.seen.first


def test_the_step_is_the_same_from_a_checkpoint_and_from_the_beginning(failed: RunFolder, recipe: Make) -> None:
    fault = read_fault(failed)
    assert fault is not None
    found = []
    for checkpoints in (True, False):
        if not checkpoints:
            failed.checkpoint.unlink(missing_ok=True)
            failed.checkpoint_before.unlink(missing_ok=True)
        setup = set_up(recipe(text=TEXT))
        step = step_from(failed, Learner(setup), CohortTeacher([setup], Watch()), fault.place, Watch())
        assert torch.equal(step.batch.images, fault.batch["inputs"])  # type: ignore[arg-type]
        assert torch.equal(step.batch.labels, fault.batch["labels"])
        assert torch.equal(step.batch.indices, fault.batch["indices"])
        assert int(step.state["student"]["student.3.batches"]) == 5
        found.append(step.state)
    for name, value in found[0]["student"].items():
        assert torch.equal(value, found[1]["student"][name]), name
    assert torch.equal(found[0]["random"]["torch"][0], found[1]["random"]["torch"][0])


def test_a_fault_that_is_told_of_late_is_traced_back_to_its_step(recipe: Make, tmp_path: Path) -> None:
    """Weights that overflow are seen at the end of the epoch; the step that made them so is found."""
    run, text = RunFolder(tmp_path / "run"), TEXT.replace("steep:net", "vgg7").replace("0.02", "1.0e+30")
    with pytest.raises(NotFiniteError):
        train(set_up(recipe("training.epochs=1", text=text)), run)
    found = replay_run(run)
    assert found.seen.first
    assert not found.notes or "before it that went wrong" in found.notes[-1]


def test_any_step_of_a_finished_run_gives_the_loss_that_it_recorded(recipe: Make, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    train(set_up(recipe("training.epochs=1", links=True)), run)
    recorded = run.read_result()["first_losses"]
    found = replay_run(run, at=(0, 2))
    assert found.seen.total == recorded[2]
    assert found.seen.first == ""
    weighted = sum(found.seen.weights[name] * value for name, value in found.seen.terms.items())
    assert weighted == pytest.approx(recorded[2], rel=1e-6)
    assert {it.role for it in found.seen.readings} == {
        *("teacher", "student", "link 'group2 : mse * 2'", "link 'group5 : mse'")
    }
    assert found.seen.gradients.keys() == dict(set_up(recipe(links=True)).distiller.named_parameters()).keys()
    with pytest.raises(UsageError, match=r"has 1 epochs of 4 steps; there is no epoch 4, step 1"):
        replay_run(run, at=(3, 0))
    with pytest.raises(UsageError, match="keeps no step that failed"):
        replay_run(run)
    assert not run.fault.exists()


def test_a_layer_that_overflows_is_told_beside_float32(recipe: Make, steep: None, tmp_path: Path) -> None:
    run, text = RunFolder(tmp_path / "run"), TEXT.replace("steep:net", "steep:with_square")
    with pytest.raises(NotFiniteError):
        train(set_up(recipe("precision=bfloat16", text=text)), run)
    found = replay_run(run)
    assert found.seen.precision == "bfloat16"
    assert found.seen.first.startswith("the student's 1 (Square) gave nan in 64 of 64 images")
    assert found.beside is not None
    assert found.beside.precision == "float32"
    assert found.beside.first.startswith("the student's 1 (Square) gave nan")
    assert {it.dtype for it in found.seen.readings if it.kind == "Conv2d"} == {"bfloat16"}
    assert {it.dtype for it in found.beside.readings if it.kind == "Conv2d"} == {"float32"}


def test_a_teacher_that_overflows_is_told_before_the_student(recipe: Make, teacher_run: Path, tmp_path: Path) -> None:
    weights = safetensors.torch.load_file(teacher_run / "student.safetensors")
    weights["output.bias"][3] = float("inf")
    safetensors.torch.save_file(weights, tmp_path / "broken.safetensors")
    run = RunFolder(tmp_path / "run")
    with pytest.raises(NotFiniteError):
        train(set_up(recipe(f"teacher.weights={tmp_path / 'broken.safetensors'}", links=True)), run)
    found = replay_run(run)
    assert found.seen.first.startswith("the teacher's output (Linear) gave inf in 64 of 64 images")
    assert found.seen.first.endswith("its weights reach inf")


def test_of_a_cohort_only_the_failing_member_keeps_a_step(recipe: Make, steep: None, tmp_path: Path) -> None:
    loaded = [recipe("training.epochs=2", text=TEXT), recipe("training.epochs=2", "student={model: vgg7}", text=TEXT)]
    runs = [RunFolder(tmp_path / name) for name in ("steep", "fine")]
    outcomes = train_cohort(list(zip(set_up_cohort(loaded), runs, strict=True)))
    assert isinstance(outcomes[0], NotFiniteError)
    assert isinstance(outcomes[1], dict)
    assert runs[0].fault.exists()
    assert not runs[1].fault.exists()
    assert replay_run(runs[0]).seen.first.startswith("the student's 3 (Steep) gave nan in 32")


def test_code_of_somebody_else_is_not_called(failed: RunFolder) -> None:
    failed.mark.unlink()
    with pytest.raises(ForeignCodeError, match="steep:net"):
        replay_run(failed)
    assert replay_run(failed, trust_code=True).seen.first


@pytest.mark.parametrize("damaged", [{}, {"place": "x"}, {"place": (1, 1), "text": "", "batch": None}, {"place": (1,)}])
def test_a_damaged_fault_is_a_sentence(failed: RunFolder, damaged: dict[str, object]) -> None:
    torch.save(damaged, failed.fault)
    with pytest.raises(LayerlinkError, match=r"fault\.pt is damaged"):
        replay_run(failed)
