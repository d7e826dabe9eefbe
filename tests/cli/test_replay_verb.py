"""`layerlink replay` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

import small_recipes
from shell import call

RECIPE = small_recipes.recipe("vgg7", 256, 100, "epochs: 2, batch_size: 64, lr: 1.0e+30")


def test_a_run_that_fails_says_how_to_look_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("steep.yaml").write_text(RECIPE)
    code, _, err = call(capsys, "run", "steep.yaml", "--out", "steep")
    assert code == 1
    assert err.strip().endswith("Whose values overflowed first: layerlink replay steep")
    before = {path: path.read_bytes() for path in Path("steep").iterdir()}
    code, out, err = call(capsys, "replay", "steep")
    assert code == 0, err
    assert "the run said" in out
    assert "first not finite in float32   nothing" not in out
    assert "first not finite in float32   " in out
    assert {path: path.read_bytes() for path in Path("steep").iterdir()} == before
    _, every, _ = call(capsys, "replay", "steep", "--layers")
    assert every.count("student's ") > out.count("student's ")
    code, out, _ = call(capsys, "replay", "steep", "--epoch", "1")
    assert code == 0
    assert "epoch 1, step 1 of 4, 64 images; from the beginning" in out
    assert "nothing: every layer, term, gradient and weight is finite" in out or "the update of" in out
    for words, expected in (
        (("steep", "--step", "2"), "--step 2 of which epoch?"),
        (("steep", "--epoch", "7"), "has 2 epochs of 4 steps; there is no epoch 7, step 1"),
        (("nowhere",), "nowhere is no folder of a run"),
        (("steep", "training.lrr=3"), "Did you mean training.lr?"),
    ):
        code, _, err = call(capsys, "replay", *words)
        assert code == 2
        assert expected in err
