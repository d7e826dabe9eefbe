from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from layerlink.errors import UsageError
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.learning.learner import Learner, NotFiniteError
from layerlink.lab.run.reading.evaluation import read_test
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train, train_cohort

Make = Callable[..., LoadedRecipe]
NARROW = "student={model: 'narrow_model:make'}"
MODEL = """\
from layerlink.models import build_model
from torch import nn

def make():
    model = build_model("vgg7", num_classes=10, image_size=32, channels=1, width=0.05, batch_norm=True)
    model.hidden.append(nn.Dropout(0.3))
    return model
"""
ROWS = {
    "labels": ["soft=null", "links=[]"],
    "warm": ["soft.temperature=4", "links=[]"],
    "cold": ["soft.temperature=1", 'links=["group3 : mse"]'],
    "links": ["soft=null", 'links=["group2 : mse * 2", "group4 : mse"]'],
}


@pytest.fixture
def rows(recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, LoadedRecipe]:
    """Four students that draw numbers, as recipes over one teacher."""
    (tmp_path / "narrow_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    source = recipe(links=True).source
    return {name: load_recipe(source, [*more, NARROW, "training.epochs=2"]) for name, more in ROWS.items()}


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run.student)


def check_same(first: RunFolder, second: RunFolder) -> None:
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a), f"{first.path.name} differs"
    results = [{k: v for k, v in run.read_result().items() if k != "train_seconds"} for run in (first, second)]
    assert results[0] == results[1]


def folders(root: Path, names: Any) -> list[RunFolder]:
    return [RunFolder(root / name) for name in names]


@pytest.fixture
def alone(rows: dict[str, LoadedRecipe], tmp_path: Path) -> list[RunFolder]:
    runs = folders(tmp_path / "alone", rows)
    for loaded, run in zip(rows.values(), runs, strict=True):
        train(set_up(loaded), run)
    return runs


def test_every_student_of_a_cohort_ends_as_if_alone_and_the_teacher_runs_once_a_batch(
    rows: dict[str, LoadedRecipe], alone: list[RunFolder], tmp_path: Path
) -> None:
    setups, runs = set_up_cohort(list(rows.values())), folders(tmp_path / "together", rows)
    passes: list[int] = []
    setups[0].distiller.teacher.model.register_forward_pre_hook(lambda _m, args: passes.append(len(args[0])))
    train_cohort(list(zip(setups, runs, strict=True)))
    for first, second in zip(alone, runs, strict=True):
        check_same(first, second)
    training, reading = 2 * 4, 2  # epochs x batches; batches of the test images, read once for all
    assert len(passes) == 1 + training + reading  # read first, once, on validation images


def test_what_a_student_draws_changes_from_step_to_step_and_follows_its_seed(rows: dict[str, LoadedRecipe]) -> None:
    def draws(seed: int) -> list[float]:
        learner = Learner(set_up(load_recipe(rows["labels"].source, [*ROWS["labels"], NARROW, f"seed={seed}"])))
        seen: list[float] = []
        learner.distiller.student.register_forward_hook(lambda *_: seen.append(float(torch.rand(()))))
        for batch in learner.setup.batches.epoch(0):
            torch.rand(17)  # what is drawn elsewhere changes nothing
            learner.step(batch)
        return seen

    first = draws(1)
    assert len(set(first)) == len(first) > 1
    assert draws(1) == first
    assert draws(2) != first


def test_links_fade_from_step_to_step(rows: dict[str, LoadedRecipe]) -> None:
    text = "group3 : mse * 2, decay=linear"
    learner = Learner(set_up(load_recipe(rows["links"].source, [NARROW, f'links=["{text}"]', "training.epochs=2"])))
    learner.start_epoch(0)
    batches = learner.setup.batches
    weights = [learner.step(batch).weights[text] for batch in batches.epoch(0)]
    assert weights == pytest.approx([2 * (1 - step / (2 * len(batches))) for step in range(len(batches))])


def test_a_stopped_cohort_goes_on_to_the_same_weights(
    rows: dict[str, LoadedRecipe], alone: list[RunFolder], notes: Any, tmp_path: Path
) -> None:
    runs = folders(tmp_path / "together", rows)
    stop = notes((1, 1), lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        train_cohort(list(zip(set_up_cohort(list(rows.values())), runs, strict=True)), watch=stop)
    train_cohort(list(zip(set_up_cohort(list(rows.values())), runs, strict=True)), resume=True)
    for first, second in zip(alone, runs, strict=True):
        check_same(first, second)


def test_students_may_learn_for_unequal_epochs(
    rows: dict[str, LoadedRecipe], alone: list[RunFolder], tmp_path: Path
) -> None:
    longer = {
        name: load_recipe(loaded.source, [*ROWS[name], NARROW, "training.epochs=3"]) for name, loaded in rows.items()
    }
    runs, one = folders(tmp_path / "together", rows), RunFolder(tmp_path / "one")
    mixed = [rows["labels"], longer["warm"], rows["cold"], longer["links"]]
    train_cohort(list(zip(set_up_cohort(mixed), runs, strict=True)))
    check_same(alone[0], runs[0])
    check_same(alone[2], runs[2])
    train(set_up(longer["links"]), one)
    check_same(one, runs[3])


def test_a_teacher_whose_weights_changed_is_read_again(rows: dict[str, LoadedRecipe], tmp_path: Path) -> None:
    setup = set_up(rows["warm"])
    first = read_test(setup.distiller.student, setup)
    with torch.no_grad():
        setup.distiller.teacher.model.output.weight.neg_()
    assert read_test(setup.distiller.student, setup)["teacher_test_accuracy"] != first["teacher_test_accuracy"]


def test_members_that_are_further_than_others_are_not_held_back(
    rows: dict[str, LoadedRecipe], alone: list[RunFolder], tmp_path: Path
) -> None:
    runs = folders(tmp_path / "together", rows)
    train(set_up(rows["warm"]), runs[1])  # one is finished already
    train_cohort(list(zip(set_up_cohort(list(rows.values())), runs, strict=True)), resume=True)
    for first, second in zip(alone, runs, strict=True):
        check_same(first, second)


def test_a_student_that_breaks_is_dropped_and_the_others_go_on(
    rows: dict[str, LoadedRecipe], alone: list[RunFolder], notes: Any, tmp_path: Path
) -> None:
    setups, runs = set_up_cohort(list(rows.values())), folders(tmp_path / "together", rows)

    def poison() -> None:
        with torch.no_grad():
            setups[0].distiller.student.output.bias.fill_(float("nan"))

    watch = notes((1, 0), poison)
    outcomes = train_cohort(list(zip(setups, runs, strict=True)), watch=watch)
    assert isinstance(outcomes[0], NotFiniteError)
    assert not runs[0].result.exists()
    assert any("labels is dropped, the others go on: epoch 2, step 2: hard = nan" in text for text in watch.warnings)
    for first, second in list(zip(alone, runs, strict=True))[1:]:
        check_same(first, second)


def test_recipes_that_differ_in_what_is_shared_are_refused(rows: dict[str, LoadedRecipe]) -> None:
    other = load_recipe(rows["warm"].source, [NARROW, "training.epochs=2", "training.batch_size=32"])
    with pytest.raises(UsageError, match=r"cannot share a teacher pass .*: training\.batch_size differs"):
        set_up_cohort([rows["warm"], other])
