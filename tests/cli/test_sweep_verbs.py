"""`layerlink sweep`, `search` and `verify` as a user meets them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import small_recipes
from layerlink.lab.recipe.file import load_recipe
from shell import call

BASE = small_recipes.recipe(
    "vgg7",
    128,
    64,
    "epochs: 2, batch_size: 32, lr: 0.02",
    "teacher: {model: vgg16, weights: none}",
    "soft: {temperature: 2}",
)
TEACHER = small_recipes.teacher(128, 64)
SWEEP = """\
base: base.yaml
train_teacher: {recipe: teacher.yaml}
baselines: {labels: {soft: null}}
axes: {soft.temperature: [1, 4]}
"""
SEARCH = (
    "base: base.yaml\ntrain_teacher: {recipe: teacher.yaml}\nspace: {soft.temperature: {low: 1, high: 4}}\ntrials: 2\n"
)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("base", BASE), ("teacher", TEACHER), ("warm", SWEEP), ("look", SEARCH)):
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAYERLINK_CACHE", str(tmp_path / "cache"))


def test_a_sweep_from_plan_to_report(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "sweep", "warm.yaml", "--dry-run")
    assert (code, err) == (0, "")
    assert "teacher    teacher.yaml   runs/warm/teacher   new" in out
    assert out.count("   new     runs/warm/") == 3
    assert "cohort     3 runs, 3 at a time: 8 steps; teacher" in out
    assert "nothing trained; the teacher's own training and validation not counted" in out
    assert not Path("runs").exists()

    code, out, err = call(capsys, "sweep", "warm.yaml")
    assert (code, err) == (0, "")
    assert re.search(r"^epoch   students   validation, best +worst +seconds$", out, re.MULTILINE)
    assert re.search(r"^ +2/2 +3 +[\d.]+ % \S+ +[\d.]+ % \S+ +\d+$", out, re.MULTILINE)
    assert out.count("the teacher reads accuracy") == 1  # three students have one teacher
    assert out.splitlines()[-1] == "saved runs/warm    next: layerlink report runs/warm"

    code, out, err = call(capsys, "sweep", "warm.yaml", "--dry-run", "seeds=2")
    assert out.count("   finished   ") == 3
    assert "cohort     3 runs" in out

    code, out, err = call(capsys, "report", "runs/warm", "--no-measure")
    assert (code, err) == (0, "")
    assert "temperature=4" in out

    code, out, err = call(capsys, "verify", "runs/warm/labels-0")
    assert (code, err) == (0, "")
    assert "first steps   the same to the last bit" in out
    assert out.splitlines()[-1] == "runs/warm/labels-0 holds"


def test_a_run_that_breaks_leaves_with_1_after_the_others_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "sweep", "warm.yaml", "baselines.labels.training.lr=1e30")
    assert code == 1
    assert "warning: 1 of 3 runs failed" in out
    assert "failed: epoch 1, step" in out or "failed: weights of" in out
    assert Path("runs/warm/temperature=4-0/result.json").exists()


def test_mistakes_are_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a-run").mkdir()
    for name in ("recipe.yaml", "data.json"):
        Path("a-run", name).write_text(BASE)
    for arguments, said in (
        (("sweep", "wram.yaml"), "warm.yaml"),
        (("sweep", "warm.yaml", "axes.soft.temprature=[1]"), "Did you mean soft.temperature"),
        (("sweep", "warm.yaml", "soft.temperature=3"), "change axes.soft.temperature in its place"),
        (("search", "look.yaml", "space.soft.temperature={low: 3, high: 1}"), "must be below high"),
        (("sweep", "warm.yaml", "--job", "cpus=4"), "say --on ray or --on slurm, too"),
        (("sweep", "warm.yaml", "seeds={}"), "seeds   ('seeds={}' on the command line)\n      must be a list, [...]"),
        (("sweep", "warm.yaml", "--out", "a-run"), "a-run holds a run that stopped before its first checkpoint"),
        (("verify", "nothing"), "there is no folder nothing"),
    ):
        code, out, err = call(capsys, *arguments)
        assert (code, out) == (2, ""), arguments
        assert said in err
        assert "Traceback" not in err
    assert sorted(it.name for it in Path("a-run").iterdir()) == ["data.json", "recipe.yaml"]


def test_a_search_names_the_best_and_how_to_run_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "search", "look.yaml")
    assert (code, err) == (0, "")
    assert out.count("complete") == 2
    assert "best       trial" in out
    again = re.search(
        r"^again      layerlink run (runs/look/trial-000\d/recipe.yaml) --out ANOTHER    weights: ", out, re.MULTILINE
    )
    assert again
    assert load_recipe(again[1]).recipe.soft is not None


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from layerlink.cli.main import main; main()"]
    arguments = ["sweep", "warm.yaml", "training.epochs=400"]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob("runs/warm/*-0/metrics.csv")) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.strip() == "layerlink: stopped. Nothing is lost: the same command goes on (runs/warm)"
