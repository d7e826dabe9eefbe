"""Recipes whose models are as people have them: each is trained, resumed, evaluated and verified, or told why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from layerlink.errors import LayerlinkError, ProblemsError
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run.failures import StudentError
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.learning.learner import Learner
from layerlink.lab.run.reading.evaluation import evaluate_run
from layerlink.lab.run.reading.verification import verify_run
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train, train_cohort
from layerlink.lab.run.watch import Watch
from peoples_models import InPlaceAtTimes, StopAfter

ME = "peoples_models"


Recipe = Callable[..., LoadedRecipe]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    def make(model: str, *overrides: str, more: str = "") -> LoadedRecipe:
        file = tmp_path / f"{model.lower()}.yaml"
        file.write_text(
            "data: {name: digits, image_size: 8, train_images: 300, validation: 100}\n"
            f"student: {{model: '{ME}:{model}'}}\n"
            "training: {epochs: 2, batch_size: 50, lr: 0.02}\nprecision: float32\n" + more
        )
        return load_recipe(str(file), overrides)

    return make


def weights(run: RunFolder) -> dict[str, Tensor]:
    return safetensors.torch.load_file(run.student)


def same(first: RunFolder, second: RunFolder) -> bool:
    return all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())


LINKED = "teacher: {{model: '{me}:{model}', weights: teacher.safetensors}}\nlinks: ['{layer} : mse']\n"


@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        ("Views", ()),
        ("Lazy", ("student.logits='[0]'",)),
        ("Draws", ()),
        ("Remembers", ()),
        ("Remembers", ("training.ema=0.9",)),
        ("InPlaceAtTimes", ()),
    ],
)
def test_it_is_trained_resumed_to_the_bit_evaluated_and_verified(
    recipe: Recipe, model: str, overrides: tuple[str, ...], tmp_path: Path
) -> None:
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    teacher, more = None, ""
    if model == "InPlaceAtTimes":
        teacher, more = InPlaceAtTimes(), LINKED.format(me=ME, model=model, layer="body")

    def setup() -> Any:
        return set_up(recipe(model, *overrides, more=more), teacher=teacher)

    train(setup(), whole)
    with pytest.raises(Interrupted):
        train(setup(), parts, watch=StopAfter(8))
    train(setup(), parts, resume=True)
    assert same(whole, parts)
    if teacher is None:
        again = evaluate_run(whole)
        assert again["test_accuracy"] == again["recorded_test_accuracy"]
        found = verify_run(whole)
        assert found.largest_difference == 0
        assert found.holds


@pytest.mark.parametrize("model", ["Lazy", "Draws"])
def test_every_seed_has_its_own_and_the_same_one_the_same(recipe: Recipe, model: str, tmp_path: Path) -> None:
    logits = ("student.logits='[0]'",) if model == "Lazy" else ()
    runs = [RunFolder(tmp_path / name) for name in "abc"]
    for run, seed in zip(runs, (0, 1, 0), strict=True):
        train(set_up(recipe(model, f"seed={seed}", *logits)), run)
    assert not same(runs[0], runs[1])
    assert same(runs[0], runs[2])


def test_students_of_a_cohort_have_what_they_have_alone(recipe: Recipe, tmp_path: Path) -> None:
    models = ("InPlaceAtTimes", "Draws", "Views")  # the first overwrites the images that the others need
    alone = [RunFolder(tmp_path / f"alone-{name}") for name in models]
    for name, run in zip(models, alone, strict=True):
        train(set_up(recipe(name)), run)
    together = [RunFolder(tmp_path / f"together-{name}") for name in models]
    setups = set_up_cohort([recipe(name) for name in models])
    train_cohort(list(zip(setups, together, strict=True)))
    assert all(map(same, alone, together))


def test_extra_state_comes_back_with_the_weights(recipe: Recipe, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    train(set_up(recipe("Remembers", "training.keep=last")), run)
    assert torch.load(run.path / "student.extra.pt", weights_only=True) == {
        "_extra_state": {"seen": 12, "note": "batches"}
    }
    assert not list(run.path.glob("best-*"))
    with pytest.raises(ProblemsError, match="its state _extra_state is a object that cannot be kept as data"):
        set_up(recipe("Remembers", "student.arguments={odd: true}"))


def test_a_model_that_views_its_maps_keeps_the_speed_of_others(recipe: Recipe) -> None:
    plain, viewing = set_up(recipe("InPlaceAtTimes")), set_up(recipe("Views", "student.arguments.width=8"))
    assert plain.distiller.student.body.weight.is_contiguous(memory_format=torch.channels_last)
    assert viewing.distiller.student.two.weight.is_contiguous()
    assert not viewing.distiller.student.two.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("validation", [False, True])
def test_an_error_of_ones_own_model_is_told_as_that_and_costs_one_student(
    recipe: Recipe, validation: bool, tmp_path: Path
) -> None:
    overrides = (f"student.arguments={{at: {1 if validation else 5}, validation: {str(validation).lower()}}}",)
    with pytest.raises(StudentError) as caught:
        train(set_up(recipe("Breaks", *overrides)), RunFolder(tmp_path / "alone"))
    where = "validation after epoch 1" if validation else "epoch 1, step 5"
    assert str(caught.value).startswith(f"{where}: RuntimeError: the matrix is singular (")
    assert f"{ME}.py, line " in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)
    setups = set_up_cohort([recipe("Breaks", *overrides), recipe("Draws")])
    broken, fine = train_cohort(list(zip(setups, [RunFolder(tmp_path / "x"), RunFolder(tmp_path / "y")], strict=True)))
    assert isinstance(broken, LayerlinkError)
    assert "test_accuracy" in fine


def test_a_batch_of_one_image_is_told_with_the_field_to_change(recipe: Recipe) -> None:
    with pytest.raises(ProblemsError) as caught:
        set_up(recipe("batch_norm", "training.batch_size=1"))
    assert "training.batch_size   ('training.batch_size=1' on the command line)" in str(caught.value)
    assert "must be 2 or more for this student" in str(caught.value)
    assert set_up(recipe("Draws", "training.batch_size=1")).recipe.training.batch_size == 1


def test_outputs_that_are_several_in_training_must_be_named(recipe: Recipe) -> None:
    with pytest.raises(ProblemsError, match="Name the element to read"):
        set_up(recipe("Lazy"))


def test_images_have_any_number_of_channels(tmp_path: Path) -> None:
    file = tmp_path / "four.yaml"
    file.write_text(
        f"data: {{name: '{ME}:four_channels', image_size: 8, augment: crop-flip}}\nstudent: '{ME}:four'\n"
        "training: {epochs: 1, batch_size: 20}\nprecision: float32\n"
    )
    run = RunFolder(tmp_path / "run")
    train(set_up(load_recipe(str(file))), run)
    assert len(run.read_data()["mean"]) == 4
    assert verify_run(run).holds


def test_more_epochs_begin_with_the_new_schedules_learning_rate(recipe: Recipe, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    schedule = "training.schedule=cosine"

    class StopAtTheEnd(Watch):
        def epoch(self, run: RunFolder, row: dict[str, Any]) -> None:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(set_up(recipe("Draws", schedule)), run, watch=StopAtTheEnd())
    setup = set_up(recipe("Draws", schedule, "training.epochs=4"))
    used: list[float] = []

    class Note(Watch):
        def step(self, epoch: int, step: int, images: int, losses: Any) -> None:
            used.append(float(losses.total.detach()))

    rates: list[float] = []
    real = Learner.update

    def update(self: Any, found: Any = None) -> None:
        rates.append(self.optimizer.param_groups[0]["lr"])
        real(self, found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "update", update)
        train(setup, run, watch=Note(), resume=True)
    steps = len(setup.batches)
    expected = [0.01 * (1 + np.cos(np.pi * step / (4 * steps))) for step in range(steps, 4 * steps)]
    assert rates == pytest.approx(expected)
    assert float(run.read_metrics()[1]["lr"]) == pytest.approx(expected[steps - 1])  # of the epoch's last step
