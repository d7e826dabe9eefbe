from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.recipe.file import LoadedRecipe, dump_recipe, load_recipe
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run import member
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.resume import claim
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train

Make = Callable[..., LoadedRecipe]


@pytest.fixture(autouse=True)
def _a_checkpoint_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "SHARE_OF_TIME", 1e9)


@pytest.fixture
def stopped(recipe: Make, notes: Any, tmp_path: Path) -> RunFolder:
    """A run that was stopped in its third epoch of four, with two checkpoints."""
    run = RunFolder(tmp_path / "run")
    with pytest.raises(Interrupted):
        train(
            set_up(recipe("training.epochs=4")),
            run,
            watch=notes((2, 1), lambda: os.kill(os.getpid(), signal.SIGINT)),
        )
    places = [run.read_checkpoint(path)["position"] for path in run.checkpoints]
    assert [(place["epoch"], place["step"]) for place in places] == [(2, 2), (2, 0)]
    return run


def same(first: RunFolder, second: RunFolder) -> bool:
    a, b = (safetensors.torch.load_file(run.student) for run in (first, second))
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def straight(recipe: Make, tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "straight")
    train(set_up(recipe("training.epochs=4")), run)
    return run


@pytest.mark.parametrize("kept", [1000, 0])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    kept: int, recipe: Make, notes: Any, stopped: RunFolder, straight: RunFolder
) -> None:
    stopped.checkpoint.write_bytes(stopped.checkpoint.read_bytes()[:kept])
    watch = notes()
    train(set_up(recipe("training.epochs=4")), stopped, watch=watch, resume=True)
    assert any("checkpoint.pt is damaged" in text and "checkpoint-before.pt" in text for text in watch.warnings)
    assert "checkpoint.pt is damaged" in stopped.warnings.read_text()
    assert same(straight, stopped)
    assert not list(stopped.path.glob("*.pt")) + list(stopped.path.glob("best-*"))


def test_a_kill_between_the_two_renames_loses_nothing(recipe: Make, stopped: RunFolder, straight: RunFolder) -> None:
    stopped.checkpoint.replace(stopped.checkpoint_before)
    train(set_up(recipe("training.epochs=4")), stopped, resume=True)
    assert same(straight, stopped)


def test_two_damaged_checkpoints_are_both_named(recipe: Make, stopped: RunFolder) -> None:
    for path in stopped.checkpoints:
        path.write_bytes(b"nothing")
    with pytest.raises(
        LayerlinkError, match=r"checkpoint.pt is damaged.*checkpoint-before.pt is damaged.*--out FOLDER"
    ):
        train(set_up(recipe("training.epochs=4")), stopped, resume=True)


def test_the_older_checkpoint_finds_its_own_best_weights(
    recipe: Make, notes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([50.0, 60.0, 70.0])
    monkeypatch.setattr(member, "validation_score", lambda *_: next(accuracies))
    run = RunFolder(tmp_path / "run")

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(set_up(recipe("training.epochs=4")), run, watch=notes((3, 0), stop))
    assert sorted(path.name for path in run.path.glob("best-*")) == ["best-3.safetensors"]
    first, second = (run.read_checkpoint(path)["position"]["best_epoch"] for path in run.checkpoints)
    assert (first, second) == (3, 3)
    # Back to a checkpoint whose best epoch is another than the last one's.
    accuracies = iter([50.0, 60.0, 70.0])
    monkeypatch.setattr(member, "validation_score", lambda *_: next(accuracies))
    run = RunFolder(tmp_path / "again")
    with pytest.raises(Interrupted):
        train(set_up(recipe("training.epochs=4")), run, watch=notes((2, 3), stop))
    assert sorted(path.name for path in run.path.glob("best-*")) == ["best-2.safetensors", "best-3.safetensors"]
    run.checkpoint.unlink()
    accuracies = iter([10.0, 10.0])
    monkeypatch.setattr(member, "validation_score", lambda *_: next(accuracies))
    kept = safetensors.torch.load_file(run.best(2))
    result = train(set_up(recipe("training.epochs=4")), run, resume=True)
    assert (result["epoch"], result["validation_accuracy"]) == (2, 60.0)
    student = safetensors.torch.load_file(run.student)
    assert all(torch.equal(student[name], kept[name]) for name in kept)


def test_more_epochs_are_allowed_and_told(recipe: Make, notes: Any, stopped: RunFolder) -> None:
    watch = notes()
    result = train(set_up(recipe("training.epochs=5")), stopped, watch=watch, resume=True)
    assert result["epochs"] == 5
    assert len(stopped.read_metrics()) == 5
    assert any("training.epochs was 4, is 5 from epoch 3 on" in text for text in watch.warnings)
    assert load_recipe(str(stopped.recipe)).recipe.training.epochs == 5


def test_fewer_epochs_than_are_done_and_other_epochs_of_a_finished_run_are_refused(
    recipe: Make, stopped: RunFolder, straight: RunFolder
) -> None:
    with pytest.raises(UsageError, match=r"has learnt for 2 epochs already; training\.epochs=1 would be fewer"):
        train(set_up(recipe("training.epochs=1")), stopped, resume=True)
    with pytest.raises(UsageError, match=r"training.epochs: 4   now: 5"):
        train(set_up(recipe("training.epochs=5")), straight, resume=True)


def test_every_difference_of_recipes_is_listed_by_its_field(recipe: Make, stopped: RunFolder) -> None:
    other = recipe("training.epochs=4", "training.lr=0.5", "data.augment=none", "student.arguments.width=0.1")
    with pytest.raises(UsageError) as caught:
        train(set_up(other), stopped, resume=True)
    for line in (
        "training.lr: 0.02   now: 0.5",
        "data.augment: 'crop'   now: 'none'",
        "student.arguments.width: 0.05   now: 0.1",
    ):
        assert line in str(caught.value)
    stopped.recipe.write_text("{")
    with pytest.raises(LayerlinkError, match=r"recipe\.yaml is damaged"):
        train(set_up(other), stopped, resume=True)


def test_another_version_is_refused_and_other_circumstances_are_told(
    recipe: Make, notes: Any, stopped: RunFolder
) -> None:
    environment = json.loads(stopped.environment.read_text())
    stopped.environment.write_text(json.dumps({**environment, "layerlink": "0.0.1"}))
    with pytest.raises(UsageError, match=r"was begun with layerlink 0\.0\.1; this is"):
        train(set_up(recipe("training.epochs=4")), stopped, resume=True)
    changed = {**environment, "commit": "abc", "packages": {**environment["packages"], "torch": "1.0"}}
    stopped.environment.write_text(json.dumps(changed))
    watch = notes()
    train(set_up(recipe("training.epochs=4")), stopped, watch=watch, resume=True)
    assert any("torch was 1.0, is" in text and "commit was abc, is" in text for text in watch.warnings)


def test_a_familys_own_teacher_is_the_same_where_its_folder_was_moved(recipe: Make, tmp_path: Path) -> None:
    def asked(place: str, *more: str) -> Recipe:
        return recipe(f"teacher.weights={tmp_path}/{place}", *more, links=True).recipe

    for place, weights in (("old/teacher", b"one"), ("new/teacher", b"one"), ("other/teacher", b"two")):
        RunFolder(tmp_path / place).path.mkdir(parents=True)
        RunFolder(tmp_path / place).student.write_bytes(weights)
    run = RunFolder(tmp_path / "new" / "row-0")
    run.path.mkdir()
    run.recipe.write_text(dump_recipe(asked("old/teacher")))
    claim(run, asked("new/teacher"), resume=True)  # a copy
    RunFolder(tmp_path / "old/teacher").student.unlink()
    claim(run, asked("new/teacher"), resume=True)  # it was moved
    for wrong in (asked("other/teacher"), asked("new/teacher", "training.lr=0.5")):
        with pytest.raises(UsageError, match="another recipe"):
            claim(run, wrong, resume=True)
    claim(run, asked("new/teacher", "training.lr=0.5", "data.workers=1"), resume=True, but=("training.lr", "data"))
    run.recipe.write_text(dump_recipe(asked("other/teacher")))
    with pytest.raises(UsageError, match=r"teacher\.weights"):  # another family's, which is there
        claim(run, asked("new/teacher"), resume=True)
