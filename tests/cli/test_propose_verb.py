"""`layerlink propose` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import small_recipes
from layerlink.cli.main import run_command_line

BASE = small_recipes.recipe(
    "vgg7",
    128,
    64,
    "epochs: 4, batch_size: 32, lr: 0.02",
    "teacher: {model: vgg16, arguments: {width: 0.05, batch_norm: true}, weights: own}",
    "soft: {temperature: 2}",
    'links: ["group3 : mse * 40"]',
)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAYERLINK_CACHE", str(tmp_path / "cache"))


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command_line(["propose", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_recipe_gets_links_a_page_and_a_recipe_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "base.yaml", "--batches", "2")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("warning: the teacher reads accuracy")  # it was never trained
    assert lines[1].startswith('links: ["group')
    assert "over 64 images" in out
    assert lines[-2:] == [
        "page   propose/index.html",
        "next   layerlink run propose/recipe.yaml    or --probe: train a few sets for a short time, and see",
    ]
    links = json.loads(Path("propose/proposal.json").read_text())["links"]
    assert {link.partition(" :")[0] for link in links} >= {"group3", "group4", "group5"}
    assert run_command_line(["run", "propose/recipe.yaml", "training.epochs=1", "--out", "trained"]) == 0
    assert links[-1] in Path("trained/metrics.csv").read_text()


def test_two_models_and_a_number_of_links(capsys: pytest.CaptureFixture[str]) -> None:
    narrow = ["teacher.arguments={width: 0.05}", "student.arguments={width: 0.025}", "teacher.weights=own"]
    code, out, err = call(capsys, "vgg16", "vgg7", *narrow, "--links", "2", "--batches", "1", "--out", "two models")
    assert (code, err) == (0, "")
    assert out.count("adapter=auto") == 2
    assert "conv1x1" in out
    assert "next   layerlink run 'two models/recipe.yaml'" in out


def test_probes_train_side_by_side_and_are_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("base.yaml", "--probe", "--epochs", "1", "--seeds", "2", "--batches", "1")
    code, out, err = call(capsys, *arguments)
    assert (code, err) == (0, "")
    assert out.count("students   validation") == 2  # an epoch of each seed's cohort
    assert "leads the short trainings. No row is marked as best" in out
    assert out.splitlines()[-1] == "       layerlink report propose/probes"
    assert "Short trainings" in Path("propose/index.html").read_text()
    probes = json.loads(Path("propose/proposal.json").read_text())["probes"]
    assert {"labels only", "soft only", "proposed", "last link alone"} <= {row["name"] for row in probes["sets"]}

    code, again, err = call(capsys, *arguments)
    assert (code, err) == (0, "")
    assert "students   validation" not in again
    table = [line for line in out.splitlines() if line.startswith("proposed")]
    assert table == [line for line in again.splitlines() if line.startswith("proposed")]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("vgg16",), "vgg16 is a model; name its student, too: layerlink propose vgg16 STUDENT"),
        (("vgg16", "vgg77", "teacher.weights=own"), "unknown model 'vgg77'. Did you mean vgg7"),
        (("vgg16", "vgg7"), "a teacher needs weights: a run folder, a file of weights, or own"),
        (("base.yaml", "teacher.arguments={num_classes: 7}"), "classes"),
        (("base.yaml", "--links", "0"), "--links"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert "Traceback" not in err
    assert not Path("propose").exists()


def test_what_the_user_changed_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    Path("propose").mkdir()
    Path("propose/recipe.yaml").write_text("mine\n")
    code, _, err = call(capsys, "base.yaml")
    assert code == 2
    assert "propose/recipe.yaml is there and propose did not write it. Choose another folder: --out FOLDER" in err
    assert Path("propose/recipe.yaml").read_text() == "mine\n"


def test_without_the_packages_for_pages_the_rest_stands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    for name in ("layerlink.lab.report.page.vega", "layerlink.lab.report.page.charts", "layerlink.design.propose.page"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    code, out, _ = call(capsys, "base.yaml", "--batches", "1")
    assert code == 0
    assert "warning: there is no page: " in out
    assert Path("propose/recipe.yaml").exists()


def test_in_ones_own_loop_nothing_of_the_lab_is_loaded() -> None:
    code = "import sys, layerlink as ll; ll.propose; print([m for m in sys.modules if m.startswith('layerlink.lab')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
