from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run import member
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.learning.learner import NotFiniteError
from layerlink.lab.run.reading import evaluation
from layerlink.lab.run.reading.dead_layers import dead_layers
from layerlink.lab.run.reading.evaluation import evaluate_run
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train

Make = Callable[..., LoadedRecipe]


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run.student)


def same(first: RunFolder, second: RunFolder) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_folder_holds_everything_and_nothing_else(recipe: Make, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    setup = set_up(recipe("training.step_epochs=1", links=True))
    result = train(setup, run)
    # Whether so narrow a student is still at chance after an epoch, which is warned of, is left open.
    assert sorted({path.name for path in run.path.iterdir()} - {"warnings.txt"}) == [
        "data.json",
        "environment.json",
        "mark.json",
        "metrics.csv",
        "recipe.yaml",
        "result.json",
        "student.safetensors",
    ]
    with run.metrics.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "epoch",
        "hard",
        "soft",
        "group2 : mse * 2",
        "group5 : mse",
        "train_accuracy",
        "validation_accuracy",
        "lr",
        "images_per_second",
        "seconds",
    ]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["lr"]) for row in rows] == pytest.approx(
        [0.02, 0.002, 0.0002]
    )  # of the epoch, not of the next one
    assert set(weights(run)) == set(setup.distiller.student.state_dict())
    environment = json.loads(run.environment.read_text())
    assert environment["packages"]["torch"] == torch.__version__
    assert {"layerlink", "commit", "python", "hardware", "precision", "command"} <= environment.keys()
    assert json.loads(run.result.read_text()) == result
    assert result["test_images"] == 360
    assert {"teacher_test_accuracy", "agreement", "validation_accuracy", "seed"} <= result.keys()


def test_it_learns(recipe: Make, tmp_path: Path) -> None:
    result = train(set_up(recipe("training.epochs=12", "training.ema=null")), RunFolder(tmp_path / "run"))
    assert result["test_accuracy"] > 60  # chance: 10


def test_a_run_can_be_run_again_from_its_folder_alone(recipe: Make, tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "first"), RunFolder(tmp_path / "second")
    train(set_up(recipe("seed=3", links=True)), first)
    torch.manual_seed(99)  # nothing outside the recipe may matter
    train(set_up(load_recipe(str(first.recipe))), second)
    assert same(first, second)


def test_another_seed_gives_another_student(recipe: Make, tmp_path: Path) -> None:
    runs = [RunFolder(tmp_path / str(seed)) for seed in range(2)]
    for seed, run in enumerate(runs):
        train(set_up(recipe(f"seed={seed}", "training.epochs=1")), run)
    assert not same(*runs)


@pytest.mark.parametrize("at", [(0, 1), (1, 2), (1, 3)], ids=["first epoch", "inside", "end of an epoch"])
def test_a_stopped_run_goes_on_to_the_same_weights(
    recipe: Make, notes: Any, tmp_path: Path, at: tuple[int, int]
) -> None:
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    train(set_up(recipe(links=True)), whole)
    stop = notes(at, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match="--resume goes on"):
        train(set_up(recipe(links=True)), parts, watch=stop)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not parts.result.exists()
    train(set_up(recipe(links=True)), parts, resume=True)
    assert same(whole, parts)
    strip = {"seconds", "images_per_second"}
    rows = [[{k: v for k, v in row.items() if k not in strip} for row in run.read_metrics()] for run in (whole, parts)]
    assert rows[0] == rows[1]


def test_a_killed_run_goes_on_to_the_same_weights(recipe: Make, tmp_path: Path) -> None:
    loaded = recipe("training.epochs=6")
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    train(set_up(loaded), whole)
    code = (
        "from pathlib import Path; from layerlink.lab.recipe.file import load_recipe\n"
        "from layerlink.lab.run.setup.setup import set_up\n"
        "from layerlink.lab.run.folder import RunFolder; from layerlink.lab.run.training import train\n"
        f"train(set_up(load_recipe({loaded.source!r}, ['training.epochs=6'])), RunFolder(Path({str(parts.path)!r})))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not parts.checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not parts.result.exists()
    train(set_up(loaded), parts, resume=True)
    assert same(whole, parts)


def test_a_folder_that_holds_something_is_never_overwritten(recipe: Make, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    train(set_up(recipe("training.epochs=1")), run)
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    with pytest.raises(UsageError, match=r"holds a finished run already; nothing was written.*--out FOLDER"):
        train(set_up(recipe("training.epochs=1")), run)
    with pytest.raises(UsageError, match=r"holds a run of another recipe:\n  training.batch_size: 64   now: 32"):
        train(set_up(recipe("training.epochs=1", "training.batch_size=32")), run, resume=True)
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before
    other = RunFolder(tmp_path / "other")
    other.path.mkdir()
    (other.path / "thesis.txt").write_text("do not touch")
    with pytest.raises(UsageError, match="holds other files already"):
        train(set_up(recipe()), other)


def test_a_finished_run_is_not_repeated(recipe: Make, notes: Any, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    result = train(set_up(recipe("training.epochs=1")), run)
    again = notes()
    assert train(set_up(recipe("training.epochs=1")), run, watch=again, resume=True) == result
    assert again.rows == []


def test_the_best_epoch_is_chosen_on_validation_and_test_is_read_once_at_the_end(
    recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = set_up(recipe("training.epochs=4", "training.keep=best", "training.ema=null"))
    accuracies = iter([50.0, 80.0, 70.0, 60.0])
    read: list[int] = []
    kept: list[dict[str, torch.Tensor]] = []

    def fake_validation(model: nn.Module, _setup: Any) -> float:
        kept.append({name: value.clone() for name, value in model.state_dict().items()})
        return next(accuracies)

    each_image = evaluation.each_image

    def spied(model: Any, images: Any, *rest: Any) -> torch.Tensor:
        read.append(len(images))
        return each_image(model, images, *rest)

    monkeypatch.setattr("layerlink.lab.run.member.validation_score", fake_validation)
    monkeypatch.setattr(evaluation, "each_image", spied)
    run = RunFolder(tmp_path / "run")
    result = train(setup, run)
    assert read == [360]  # the student alone, once
    assert (result["epoch"], result["validation_accuracy"]) == (2, 80.0)
    assert all(torch.equal(value, kept[1][name]) for name, value in weights(run).items())


def test_validation_and_test_images_are_never_trained_on(recipe: Make) -> None:
    images = set_up(recipe()).images
    parts = [
        {bytes(image.numpy().tobytes()) for image in part.images}
        for part in (images.train, images.validation, images.test)
    ]
    assert [len(images.train), len(images.validation), len(images.test)] == [256, 100, 360]
    # The digits hold a few scans twice; parts may share those and nothing more.
    assert len(parts[0] & parts[1]) <= 1
    assert len(parts[0] & parts[2]) <= 1


@pytest.mark.parametrize("epoch", [0, 1])
def test_the_student_trains_in_train_mode_also_after_validation(
    recipe: Make, notes: Any, tmp_path: Path, epoch: int
) -> None:
    setup = set_up(recipe("training.epochs=2"))
    setup.distiller.eval()
    modes: list[bool] = []
    watch = notes((epoch, 0), lambda: modes.append(all(m.training for m in setup.distiller.student.modules())))
    train(setup, RunFolder(tmp_path / "run"), watch=watch)
    assert modes == [True]


def test_a_loss_that_is_not_finite_names_term_epoch_and_step_and_keeps_the_checkpoint(
    recipe: Make, notes: Any, tmp_path: Path
) -> None:
    run, setup = RunFolder(tmp_path / "run"), set_up(recipe(links=True))
    student = setup.distiller.student

    def poison() -> None:
        with torch.no_grad():
            next(student.group2.parameters()).fill_(float("nan"))

    with pytest.raises(NotFiniteError, match=r"epoch 2, step 3: hard = nan, soft = nan, group2 : mse \* 2 = nan"):
        train(setup, run, watch=notes((1, 1), poison))
    state = run.read_checkpoint(run.checkpoint)
    assert state["position"]["epoch"] == 1
    assert all(bool(value.isfinite().all()) for value in state["learner"]["student"].values())


def test_a_clock_that_jumps_changes_nothing(
    recipe: Make, notes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, jumping = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "jumping")
    train(set_up(recipe()), straight)
    now, watch = itertools.count(2e9, -86_400), notes()  # a day back at every look
    monkeypatch.setattr("time.time", lambda: float(next(now)))
    train(set_up(recipe()), jumping, watch=watch)
    assert same(straight, jumping)
    assert all(0 < row["seconds"] < 600 for row in watch.rows)
    assert 0 < jumping.read_result()["train_seconds"] < 600


def test_a_teacher_whose_logits_overflow_is_named(recipe: Make, tmp_path: Path) -> None:
    setup = set_up(recipe(links=True))
    with torch.no_grad():
        setup.distiller.teacher.model.output.bias[3] = float("inf")
    with pytest.raises(NotFiniteError) as caught:
        train(setup, RunFolder(tmp_path / "run"))
    assert "step 1: soft = nan is not a finite number (neither are the logits of the teacher)" in str(caught.value)


def test_broken_weights_are_never_saved_over_a_good_checkpoint(recipe: Make, notes: Any, tmp_path: Path) -> None:
    run, setup = RunFolder(tmp_path / "run"), set_up(recipe("training.epochs=2"))

    def poison() -> None:
        with torch.no_grad():
            setup.distiller.student.output.bias.fill_(float("inf"))

    with pytest.raises(NotFiniteError, match=r"weights of student.output.bias became NaN or infinite"):
        train(setup, run, watch=notes((1, 3), poison))  # the last step of the last epoch
    assert run.read_checkpoint(run.checkpoint)["position"]["epoch"] == 1


def test_a_dead_layer_is_reported(recipe: Make, notes: Any, tmp_path: Path) -> None:
    setup = set_up(
        recipe("student.arguments.batch_norm=false", "training.epochs=1", "training.ema=null", "training.lr=1e-6")
    )
    with torch.no_grad():
        setup.distiller.student.group3[0][0].bias.fill_(-1e4)
    assert dead_layers(setup.distiller.student, setup)["group3"] == 1
    assert "group3.0" not in dead_layers(setup.distiller.student, setup)
    watch, run = notes(), RunFolder(tmp_path / "run")
    train(setup, run, watch=watch)
    (warning,) = (text for text in watch.warnings if "dead layers" in text)
    assert warning.startswith("epoch 1: dead layers")
    assert "100.0 % of group3" in warning
    assert "training.clip_norm=5" in warning
    assert run.warnings.read_text().splitlines() == watch.warnings


def test_a_living_student_has_no_dead_layer(recipe: Make) -> None:
    setup = set_up(recipe())
    assert dead_layers(setup.distiller.student, setup) == {}


def test_evaluate_reads_what_was_recorded(recipe: Make, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    result = train(set_up(recipe(links=True)), run)
    reading = evaluate_run(run)
    assert reading["test_accuracy"] == reading["recorded_test_accuracy"] == result["test_accuracy"]
    assert reading["validation_accuracy"] == result["validation_accuracy"]
    assert reading["agreement"] == result["agreement"]


def test_the_same_recipe_trains_at_224(recipe: Make, tmp_path: Path) -> None:
    loaded = recipe(
        "data.image_size=224",
        "data.train_images=16",
        "data.validation=4",
        "training.epochs=1",
        "training.batch_size=8",
        links=False,
    )
    setup = set_up(loaded)
    assert setup.images.views(setup.images.train.images[:2]).shape == (2, 1, 224, 224)
    setup_test = setup.images.test.select(torch.arange(8))
    object.__setattr__(setup.images, "test", setup_test)
    before = {name: value.clone() for name, value in setup.distiller.student.state_dict().items()}
    train(setup, RunFolder(tmp_path / "run"))
    assert not torch.equal(before["group1.0.0.weight"], setup.distiller.student.state_dict()["group1.0.0.weight"])


DROPOUT = """\
from torch import nn

def make(width=16):
    return nn.Sequential(nn.Flatten(), nn.Linear(1024, width), nn.Dropout(0.5), nn.Linear(width, 10))
"""


@pytest.fixture
def dropout_recipe(recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    (tmp_path / "dropout_model.py").write_text(DROPOUT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "dropout_model", raising=False)
    return lambda *more: recipe("student={model: 'dropout_model:make'}", *more)


def test_a_student_that_draws_numbers_is_repeatable_and_resumable(
    dropout_recipe: Make, notes: Any, tmp_path: Path
) -> None:
    runs = [RunFolder(tmp_path / name) for name in ("first", "second", "stopped")]
    for run in runs[:2]:
        torch.rand(3)  # what came before must not matter
        state = torch.get_rng_state()
        train(set_up(dropout_recipe()), run)
        assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(Interrupted):
        train(set_up(dropout_recipe()), runs[2], watch=notes((1, 1), lambda: os.kill(os.getpid(), signal.SIGINT)))
    train(set_up(dropout_recipe()), runs[2], resume=True)
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])


def test_a_checkpoint_of_another_model_is_refused(dropout_recipe: Make, notes: Any, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(Interrupted):
        train(set_up(dropout_recipe()), run, watch=notes((1, 1), lambda: os.kill(os.getpid(), signal.SIGINT)))
    sys.modules["dropout_model"].make.__defaults__ = (17,)
    with pytest.raises(LayerlinkError, match=r"checkpoint.pt is of another model"):
        train(set_up(dropout_recipe()), run, resume=True)


def test_a_run_is_not_resumed_on_other_data(recipe: Make, notes: Any, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(Interrupted):
        train(set_up(recipe()), run, watch=notes((1, 1), lambda: os.kill(os.getpid(), signal.SIGINT)))
    setup = set_up(recipe())
    setup.images.stamp["train"] = "255 images, crc32 00000000"
    with pytest.raises(UsageError, match=r"was trained on other data:\n  train: 256 images.* now: 255 images"):
        train(setup, run, resume=True)


def test_a_run_is_evaluated_without_its_teacher(recipe: Make, teacher_run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "teacher"
    shutil.copytree(teacher_run, moved)
    run = RunFolder(tmp_path / "run")
    result = train(set_up(recipe(f"teacher.weights={moved}", "training.epochs=1", links=True)), run)
    shutil.rmtree(moved)
    reading = evaluate_run(run)
    assert reading["test_accuracy"] == result["test_accuracy"]
    assert "agreement" not in reading


def test_a_damaged_result_is_named(recipe: Make, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    train(set_up(recipe("training.epochs=1")), run)
    for text in ("{", "{}", "[]"):
        run.result.write_text(text)
        with pytest.raises(LayerlinkError, match=r"result.json is (missing or )?damaged"):
            evaluate_run(run)


def test_a_folder_that_another_process_trains_in_is_refused(recipe: Make, notes: Any, tmp_path: Path) -> None:
    run, refused = RunFolder(tmp_path / "run"), []

    def train_there_too() -> None:
        code = (
            "from pathlib import Path; from layerlink.lab.recipe.file import load_recipe\n"
            "from layerlink.lab.run.setup.setup import set_up\n"
            "from layerlink.lab.run.folder import RunFolder; from layerlink.lab.run.training import train\n"
            f"setup = set_up(load_recipe({loaded.source!r}, ['training.epochs=2']))\n"
            f"train(setup, RunFolder(Path({str(run.path)!r})), resume=True)"
        )
        refused.append(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr)

    loaded = recipe("training.epochs=2")
    train(set_up(loaded), run, watch=notes((1, 1), train_there_too))
    assert "another process is training in" in refused[0]
    assert run.result.exists()


def test_out_of_memory_names_what_to_change(recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = set_up(recipe())

    def exhausted(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(setup.distiller.student, "forward", exhausted)
    with pytest.raises(LayerlinkError, match=r"out of memory with 64 images in a batch.*training.batch_size=32"):
        train(setup, RunFolder(tmp_path / "run"))


def test_checkpoints_that_would_take_too_long_are_left_out_and_nothing_is_lost(
    recipe: Make, tmp_path: Path, notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, run = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "run")
    train(set_up(recipe("training.epochs=4")), straight)
    monkeypatch.setattr(member, "SHARE_OF_TIME", 0.0)

    def die() -> None:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(set_up(recipe("training.epochs=4")), run, watch=notes((3, 1), die))
    assert run.read_checkpoint(run.checkpoint)["position"]["epoch"] == 1, (
        "the first is always written; the others took too long"
    )
    train(set_up(recipe("training.epochs=4")), run, resume=True)
    assert same(straight, run)
    assert [row["validation_accuracy"] for row in straight.read_metrics()] == [
        row["validation_accuracy"] for row in run.read_metrics()
    ]
