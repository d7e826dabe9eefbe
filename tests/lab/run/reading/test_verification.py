from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from layerlink.errors import UsageError
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.reading.evaluation import set_up_again
from layerlink.lab.run.reading.verification import verify_run
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train

Make = Callable[..., LoadedRecipe]


@pytest.fixture
def run(recipe: Make, tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    train(set_up(recipe("training.epochs=2", "training.batch_size=32", links=True)), folder)
    return folder


def change(run: RunFolder, **fields: object) -> None:
    run.result.write_text(json.dumps({**json.loads(run.result.read_text()), **fields}))


def test_a_run_holds_to_the_last_bit_and_nothing_is_written(run: RunFolder) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.iterdir()}
    found = verify_run(run)
    assert len(found.losses) == 5
    assert found.losses == found.recorded_losses
    assert found.reading == found.recorded
    assert found.holds
    assert {path: path.stat().st_mtime_ns for path in run.path.iterdir()} == before


def test_a_run_that_rounds_to_8_bits_holds_and_its_student_is_plain(recipe: Make, tmp_path: Path) -> None:
    overrides = ("training.epochs=1", "training.batch_size=32")
    found = {}
    for int8 in (False, True):
        folder = RunFolder(tmp_path / str(int8))
        setup = set_up(recipe(*overrides, f"training.int8={str(int8).lower()}", links=True))
        train(setup, folder)
        assert not [it for it in setup.distiller.student.modules() if "Rounded" in type(it).__name__]
        found[int8] = verify_run(folder)
        assert found[int8].holds
    rounded, plain = found[True].losses, found[False].losses
    assert rounded != plain
    assert rounded == pytest.approx(plain, rel=0.05)
    again = set_up_again(RunFolder(tmp_path / "True")).distiller.student
    assert not [it for it in again.modules() if "Rounded" in type(it).__name__]


def test_losses_or_accuracy_that_differ_are_found(run: RunFolder) -> None:
    result = run.read_result()
    losses = result["first_losses"]
    change(run, first_losses=[losses[0] * 1.001, *losses[1:]])
    found = verify_run(run)
    assert found.largest_difference == pytest.approx(0.001, rel=0.01)
    assert not found.holds
    change(run, first_losses=losses, test_accuracy=result["test_accuracy"] + 5)
    assert not verify_run(run).holds


def test_other_data_and_older_runs_are_refused(run: RunFolder) -> None:
    with pytest.raises(UsageError, match="was trained on other data: train"):
        verify_run(run, ["data.split_seed=5"])
    change(run, first_losses=[])
    with pytest.raises(UsageError, match="made by an older layerlink"):
        verify_run(run)


def test_another_number_of_threads_stays_within_the_tolerance(run: RunFolder) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        found = verify_run(run)
    finally:
        torch.set_num_threads(threads)
    assert found.largest_difference <= found.tolerance == 1e-4
    assert found.holds
