"""Code that a run's folder names is called only where this user made the run, or says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from layerlink.cli.main import run_command_line
from layerlink.errors import UsageError
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import ForeignCodeError, adopt, recipe_of_run, trusted_recipe_of_run
from layerlink.lab.run.reading.evaluation import evaluate_run
from layerlink.lab.run.reading.verification import verify_run
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from layerlink.user_code import found_at, named

OWN = """
data: {name: digits, image_size: 8, train_images: 60, validation: 40}
student: {model: "peoples_models:plain", arguments: {width: 4}}
training: {epochs: 1, batch_size: 30, lr: 0.05}
precision: float32
"""
NET = "import torch\nfrom peoples_models import plain as net\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model of one's own."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "own.yaml").write_text(OWN)
    train(set_up(load_recipe(str(folder / "own.yaml"))), RunFolder(folder / "run"))
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> RunFolder:
    """A copy of it, as it may lie anywhere."""
    return RunFolder(Path(shutil.copytree(made, tmp_path / "moved" / "run")))


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This user is not the one who made the run."""
    monkeypatch.setenv("LAYERLINK_CONFIG", str(tmp_path / "another"))


def test_a_run_of_ones_own_needs_no_word(run: RunFolder) -> None:
    assert verify_run(run).holds
    assert trusted_recipe_of_run(run) == recipe_of_run(run)


@pytest.mark.usefixtures("stranger")
def test_one_of_somebody_else_is_told_and_not_called(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    for call in (evaluate_run, verify_run):
        with pytest.raises(ForeignCodeError, match=r"names code.*student.model peoples_models:plain.*--trust-code"):
            call(run)
        assert call(run, trust_code=True)
        with pytest.raises(ForeignCodeError):
            call(run, ["training.lr=0.1"])
    assert evaluate_run(run, ["student={model: 'peoples_models:plain', arguments: {width: 4}}"])  # the user names it
    assert run_command_line(["evaluate", str(run.path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert run_command_line(["evaluate", "--trust-code", str(run.path)]) == 0


@pytest.mark.parametrize(
    ("field", "value", "who"),
    [
        ("student", {"model": "os:system", "arguments": {"command": "touch MARKER"}}, "student.model os:system"),
        ("data", {"name": "os:system", "arguments": {"command": "touch MARKER"}}, "data.name os:system"),
        ("task", {"name": "os:system", "arguments": {"command": "touch MARKER"}}, "task.name os:system"),
        ("hard", {"weight": 1.0, "loss": "os:system"}, "hard.loss os:system"),
        ("links", ["head : os:system"], "links os:system"),
        ("teachers", {"a": {"model": "os:system"}, "b": {"model": "os:abort"}}, "teachers.b.model os:abort"),
        ("peers", {"a": {"model": "os:system", "links": ["body : os:getpid"]}}, "peers.a.model os:system"),
    ],
)
def test_a_recipe_that_was_changed_is_nobodys(
    run: RunFolder, field: str, value: object, who: str, tmp_path: Path
) -> None:
    from ruamel.yaml import YAML

    marker = tmp_path / "marker"
    tree = YAML(typ="safe").load(run.recipe.read_text())
    tree[field] = json.loads(json.dumps(value).replace("MARKER", str(marker)))
    if field == "links":
        tree["teacher"] = {"model": "vgg7", "weights": str(run.path)}
    with run.recipe.open("w") as file:
        YAML(typ="safe").dump(tree, file)
    for call in (evaluate_run, verify_run):
        with pytest.raises(ForeignCodeError) as caught:
            call(run)
        assert who in str(caught.value)
    assert not marker.exists()


def test_the_same_name_in_another_file_is_other_code(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that somebody put beside the run, for the user to stand in its folder."""
    here, there = tmp_path / "project", tmp_path / "given"
    for folder in (here, there):
        folder.mkdir()
        (folder / "my_net_of_a_test.py").write_text(NET)
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.chdir(here)
    (here / "own.yaml").write_text(OWN.replace("peoples_models:plain", "my_net_of_a_test:net"))
    train(set_up(load_recipe("own.yaml")), RunFolder(there / "run"))
    monkeypatch.delitem(sys.modules, "my_net_of_a_test")
    assert trusted_recipe_of_run(RunFolder(there / "run"))
    monkeypatch.setattr("sys.path", [path for path in sys.path if path != str(here)])
    monkeypatch.chdir(there)
    with pytest.raises(ForeignCodeError, match="my_net_of_a_test:net"):
        trusted_recipe_of_run(RunFolder(Path("run")))


@pytest.mark.parametrize(
    "mark", ["", "{}", "[]", '{"mark": 3, "code": {}}', '{"mark": "0", "code": {"a": 1}}', "[" * 9999]
)
def test_a_mark_that_is_none_is_none(run: RunFolder, mark: str) -> None:
    run.mark.write_text(mark)
    with pytest.raises(ForeignCodeError):
        trusted_recipe_of_run(run)


def test_who_asks_for_just_this_recipe_makes_it_his_own(run: RunFolder, tmp_path: Path) -> None:
    run.mark.unlink()
    adopt(run, recipe_of_run(run).recipe)
    assert trusted_recipe_of_run(run)
    run.mark.unlink()
    adopt(run, recipe_of_run(run, ["training.lr=0.1"]).recipe)
    assert not run.mark.exists()


@pytest.mark.usefixtures("stranger")
def test_what_a_strangers_recipe_writes_elsewhere_is_left_out(
    recipe: Callable[..., LoadedRecipe], run: RunFolder, tmp_path: Path
) -> None:
    from layerlink.lab.recipe.file import dump_recipe

    root = tmp_path / "elsewhere"
    loaded = recipe("data.download=true", f"teacher.store={{root: {root}}}", links=True)
    run.recipe.write_text(dump_recipe(loaded.recipe))
    found = trusted_recipe_of_run(run).recipe
    assert not found.data.download
    assert found.teacher is not None
    assert found.teacher.store is not None
    assert found.teacher.store.root is None
    assert trusted_recipe_of_run(run, ["data.download=true"]).recipe.data.download  # the user says so


def test_a_recipe_that_is_no_file_of_the_run_is_not_read(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("student: vgg7\n")
    run.recipe.unlink()
    run.recipe.symlink_to(tmp_path / "secret")
    with pytest.raises(Exception, match="leads out of"):
        trusted_recipe_of_run(run)
    run.recipe.unlink()
    run.recipe.write_text("#" * 2_000_000)
    with pytest.raises(UsageError, match="a recipe has at most"):
        trusted_recipe_of_run(run)


def test_code_in_a_folder_without_init_is_known_again_by_another_process(tmp_path: Path) -> None:
    (tmp_path / "nets_of_a_test").mkdir()
    (tmp_path / "nets_of_a_test" / "mine.py").write_text(NET)
    (tmp_path / "own.yaml").write_text(OWN.replace("peoples_models:plain", "nets_of_a_test.mine:net"))
    support = str(Path(__file__).parents[2] / "support")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([support, os.environ.get("PYTHONPATH", "")])}
    for words in (("run", "own.yaml", "--out", "run"), ("evaluate", "run"), ("verify", "run")):
        done = subprocess.run(
            [sys.executable, "-m", "layerlink", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert str(tmp_path / "nets_of_a_test") in (tmp_path / "run" / "mark.json").read_text()


def test_code_that_an_installed_finder_finds_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "edited_pkg_of_a_test.py").write_text(NET)

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            return PathFinder.find_spec(name, [str(tmp_path / "hidden")]) if name == "edited_pkg_of_a_test" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    place = str(tmp_path / "hidden" / "edited_pkg_of_a_test.py")
    assert found_at("edited_pkg_of_a_test:net") == place
    named("edited_pkg_of_a_test:net", "model")
    assert found_at("edited_pkg_of_a_test:net") == place
    monkeypatch.delitem(sys.modules, "edited_pkg_of_a_test")


def test_a_run_of_before_is_marked_when_it_goes_on(run: RunFolder, tmp_path: Path) -> None:
    lines = [
        line for line in run.recipe.read_text().split("\n") if not line.strip().startswith(("peers", "most_pixels"))
    ]
    run.recipe.write_text("\n".join(lines))
    run.mark.unlink()
    with pytest.raises(ForeignCodeError, match="--resume with its recipe marks it"):
        trusted_recipe_of_run(run)
    (tmp_path / "own.yaml").write_text(OWN)
    train(set_up(load_recipe(str(tmp_path / "own.yaml"))), run, resume=True)
    assert trusted_recipe_of_run(run)


@pytest.mark.usefixtures("stranger")
def test_overrides_trust_what_they_name_and_nothing_else(run: RunFolder) -> None:
    text = run.recipe.read_text()
    peers = "peers:\n  wide:\n    model: vgg7\n    links: ['body : os:system']\n"
    run.recipe.write_text(text.replace("peers: null\n", peers).replace("peoples_models:plain", "vgg7"))
    with pytest.raises(ForeignCodeError, match=r"peers\.wide\.links os:system"):
        trusted_recipe_of_run(run, ["links=[]"])
    assert trusted_recipe_of_run(run, ["peers.wide.links=['body : mse']"])
    run.recipe.write_text(text.replace("download: false", "download: true").replace("peoples_models:plain", "vgg7"))
    for overrides in (["data.image_size=32"], ["data.root=x"], []):
        assert not trusted_recipe_of_run(run, overrides).recipe.data.download
    assert trusted_recipe_of_run(run, ["data.download=true"]).recipe.data.download
