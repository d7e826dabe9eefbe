"""Models that a recipe names by a file: found beside it, called only where the run is the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

import layerlink as ll
from layerlink.design.propose.question import load_question
from layerlink.design.shrink.question import load_teacher
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import ForeignCodeError, adopt, trusted_recipe_of_run
from layerlink.user_code import found_at, named
from small_recipes import finished_run

NET = "from torch import nn\n\n\ndef build():\n    return nn.Linear(2, {})\n"


def test_a_file_is_named_by_its_place_and_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET.format(3))
    assert ll.build_model("net.py:build").out_features == 3
    Path("net.py").write_text(NET.format(14))
    assert named(f"{tmp_path}/net.py:build", "model")().out_features == 14
    assert found_at("net.py:build") == str(tmp_path / "net.py")
    assert found_at("gone.py:build") == ""


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET.format(3))
    with pytest.raises(ll.UsageError, match=r"Did you mean build"):
        ll.build_model("net.py:biuld")
    with pytest.raises(ll.UsageError, match=r"there is no file gone\.py"):
        ll.build_model("gone.py:build")
    Path("bad.py").write_text("1 / 0\n")
    with pytest.raises(ll.UsageError, match=r"ZeroDivisionError: division by zero \(bad\.py, line 1"):
        ll.build_model("bad.py:build")


def test_code_in_a_folder_that_somebody_handed_over_is_not_called(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    (run.path / "evil.py").write_text("raise SystemExit('called')\n")
    run.recipe.write_text("student: {model: evil.py:build}\n")
    with pytest.raises(ForeignCodeError, match=r"names code, which would be called: student\.model"):
        trusted_recipe_of_run(run)
    assert trusted_recipe_of_run(run, trust_code=True).recipe.student.model == f"{run.path / 'evil.py'}:build"


def test_a_teacher_that_somebody_handed_over_is_no_way_around(tmp_path: Path) -> None:
    run = RunFolder(finished_run(tmp_path))
    (run.path / "evil.py").write_text("raise SystemExit('called')\n")
    run.recipe.write_text("student: {model: evil.py:build}\n")
    for ask in (lambda: load_teacher([str(run.path)], []), lambda: load_question([str(run.path), "vgg7"], [])):
        with pytest.raises(ForeignCodeError, match=r"names code, which would be called: student\.model"):
            ask()


def test_every_model_of_a_recipe_may_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET.format(3))
    (tmp_path / "own.yaml").write_text(
        "student: net.py:build\nteachers: {a: {model: 'net.py:build', weights: own}, b: {model: vgg7, weights: own}}\n"
    )
    recipe = load_recipe(str(tmp_path / "own.yaml")).recipe
    assert recipe.teachers is not None
    assert [recipe.student.model, recipe.teachers["a"].model] == [f"{tmp_path}/net.py:build"] * 2
    assert recipe.teachers["b"].model == "vgg7"
    (tmp_path / "peers.yaml").write_text("student: vgg7\npeers: {other: 'net.py:build'}\n")
    peers = load_recipe(str(tmp_path / "peers.yaml")).recipe.peers
    assert peers is not None
    assert peers["other"].model == f"{tmp_path}/net.py:build"


def test_an_own_runs_code_is_that_of_the_same_file(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    (tmp_path / "net.py").write_text(NET.format(3))
    run.recipe.write_text(f"student: {{model: '{tmp_path}/net.py:build'}}\n")
    adopt(run, load_recipe(str(run.recipe)).recipe)
    assert trusted_recipe_of_run(run).recipe.student.model == f"{tmp_path}/net.py:build"
    (tmp_path / "net.py").rename(tmp_path / "other.py")
    with pytest.raises(ForeignCodeError):
        trusted_recipe_of_run(run)
