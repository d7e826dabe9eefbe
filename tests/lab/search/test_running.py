from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from layerlink.config.shipped import shipped
from layerlink.errors import LayerlinkError, ProblemsError, UsageError
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.watch import Watch
from layerlink.lab.search import running as searching
from layerlink.lab.search.database import open_storage
from layerlink.lab.search.running import Trial, run_search
from layerlink.lab.search.schema import load_search
from open_files import left_open

SEARCH = """\
base: base.yaml
space:
  training.lr: {low: 0.00001, high: 0.05, log: true}
  training.batch_size: {low: 32, high: 64, step: 32}
  student.arguments.batch_norm: [true, false]
  links: [[], ["group2 : mse * 2"]]
trials: 4
cohort: 2
"""
BASE = """\
data: {{name: digits, image_size: 32, train_images: 128, validation: 100}}
teacher: {{model: vgg16, arguments: {{width: 0.05, batch_norm: true}}, weights: {teacher}}}
student: {{model: vgg7, arguments: {{width: 0.05}}}}
training: {{epochs: 2}}
precision: float32
"""


@pytest.fixture
def search(tmp_path: Path, teacher_run: Path) -> Callable[..., list[Trial]]:
    (tmp_path / "search.yaml").write_text(SEARCH)
    (tmp_path / "base.yaml").write_text(BASE.format(teacher=teacher_run))

    def go(*overrides: str, out: str = "out", watch: Watch | None = None) -> list[Trial]:
        found = load_search(str(tmp_path / "search.yaml"), overrides, out=tmp_path / out)
        return run_search(*found, watch=watch or Watch())

    return go


def test_trials_are_ranked_by_validation_and_more_can_be_asked_for(
    search: Callable[..., list[Trial]], tmp_path: Path
) -> None:
    first = search()
    assert left_open(tmp_path) == []
    assert [trial.state for trial in first] == ["complete"] * 4
    accuracies = [trial.validation for trial in first]
    assert accuracies == sorted(accuracies, reverse=True)  # type: ignore[type-var]
    for trial in first:
        assert 1e-5 <= trial.fields["training.lr"] <= 0.05
        assert trial.fields["training.batch_size"] in (32, 64)
        assert trial.fields["links"] in ([], ["group2 : mse * 2"])
        assert (trial.folder / "result.json").exists()
    more = search("trials=6")
    assert sorted(trial.number for trial in more) == [0, 1, 2, 3, 4, 5]
    kept = {trial.number: trial for trial in more}
    assert all(kept[trial.number] == trial for trial in first)


def test_a_space_of_few_ends_when_all_of_it_was_tried(search: Callable[..., list[Trial]]) -> None:
    told: list[str] = []

    class Told(Watch):
        def tell(self, text: str) -> None:
            told.append(text)

    same = ("training.batch_size=64", "student.arguments.batch_norm=true", "links=[]", "training.epochs=1")
    trials = search("space={training.lr: [0.01, 0.02, 0.03]}", "trials=5", "cohort=4", *same, watch=Told())
    assert sorted(trial.fields["training.lr"] for trial in trials) == [0.01, 0.02, 0.03]
    assert "trials: 3 of 5; the space has no more" in told


def test_a_stopped_search_proposes_and_finds_the_same(search: Callable[..., list[Trial]], notes: Any) -> None:
    undisturbed = search(out="undisturbed")
    with pytest.raises(Interrupted, match="the same command goes on"):
        search(watch=notes((1, 1), lambda: os.kill(os.getpid(), signal.SIGINT)))
    resumed = search()
    assert [(t.number, t.fields, t.validation) for t in resumed] == [
        (t.number, t.fields, t.validation) for t in undisturbed
    ]


def test_trials_below_the_median_are_given_up(
    search: Callable[..., list[Trial]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "STARTUP_TRIALS", 1)
    more = ["training.batch_size=32", "training.epochs=3", "student.arguments.batch_norm=true"]
    trials = search("trials=8", "cohort=1", "space={training.lr: [0.02, 0.03, 0.04, 0.00000001]}", *more)
    states = {trial.state for trial in trials}
    assert states == {"complete", "pruned"}
    pruned = [trial for trial in trials if trial.state == "pruned"]
    complete = [trial.validation or 0 for trial in trials if trial.state == "complete"]
    assert 1e-8 in {trial.fields["training.lr"] for trial in pruned}
    assert all((trial.validation or 0) < min(complete) for trial in pruned)
    assert all("below the median" in (trial.folder / "failed.txt").read_text() for trial in pruned)
    assert all(not (trial.folder / "result.json").exists() for trial in pruned)
    assert trials[0].state == "complete"


def test_a_trial_that_breaks_is_failed_and_the_others_count(search: Callable[..., list[Trial]]) -> None:
    trials = search("space={training.lr: [0.02, 1e30]}", "training.batch_size=32", "student.arguments.batch_norm=false")
    states = {trial.fields["training.lr"]: trial.state for trial in trials}
    assert states == {0.02: "complete", 1e30: "failed"}


def test_trials_of_another_recipe_are_not_taken_for_these(search: Callable[..., list[Trial]], tmp_path: Path) -> None:
    search("trials=1")
    for again in ({"overrides": "training.epochs=3"}, {"base": ""}):
        if "base" in again:
            text = (tmp_path / "base.yaml").read_text()
            (tmp_path / "base.yaml").write_text(text.replace("epochs: 2", "epochs: 4"))
        with pytest.raises(UsageError, match=r"another recipe:\n  training.epochs: 2   now: [34]"):
            search("trials=2", *([again["overrides"]] if "overrides" in again else []))
    assert sorted(it.name for it in (tmp_path / "out").glob("trial-*")) == ["trial-0000"]


def test_a_run_s_folder_is_no_searchs(search: Callable[..., list[Trial]], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in ("recipe.yaml", "data.json"):  # a recipe alone may be the user's own
        (tmp_path / "out" / name).write_text("student: vgg7\n")
    with pytest.raises(UsageError, match="out holds a run that stopped before its first checkpoint already"):
        search("trials=1")
    assert sorted(it.name for it in (tmp_path / "out").iterdir()) == ["data.json", "recipe.yaml"]


def test_a_full_disk_is_no_damaged_database(search: Callable[..., list[Trial]], tmp_path: Path) -> None:
    search("trials=1")
    with (
        pytest.raises(LayerlinkError, match=r"search\.db: .*disk is full\. The trials in it are kept") as caught,
        open_storage(tmp_path / "out" / "search.db"),
    ):
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    assert "Remove it" not in str(caught.value)
    assert [trial.state for trial in search("trials=1")] == ["complete"]


def test_another_space_in_the_same_folder_is_refused(search: Callable[..., list[Trial]]) -> None:
    search("trials=1")
    with pytest.raises(UsageError, match="a search over another space"):
        search("space.training.lr=[0.1]")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["space.training.epochs={low: 1, high: 9}"], "epochs"),
        (["space.training.lr={low: 0, high: 1, log: true}"], "log needs low > 0"),
        (["space.training.lr={low: 2, high: 1}"], "must be below high"),
        (["space.training.lr={low: 2}"], "give low and high"),
        (["space.training.lr=[]"], "choices is empty"),
        (["space.training.lrr=[1]"], "Did you mean training.lr"),
        (["space={}"], "no fields to vary"),
        (["trails=4"], "unknown field"),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused(
    overrides: list[str], message: str, search: Callable[..., list[Trial]]
) -> None:
    with pytest.raises(ProblemsError, match=message):
        search(*overrides)


@pytest.mark.parametrize("name", shipped("search"))
def test_shipped_searches_load(name: str) -> None:
    search, family = load_search(name)
    assert search.space
    assert search.trials > 0
    assert family.base


def test_a_trial_whose_folder_leads_out_is_not_written(search: Callable[..., list[Trial]], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trial-0001").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LayerlinkError, match="leads out of"):
        search("trials=2")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_database_that_is_no_search_s_is_named(search: Callable[..., list[Trial]], tmp_path: Path) -> None:
    database = tmp_path / "out" / "search.db"
    database.parent.mkdir()
    for content, why in ((b"junk", "it does not begin as one"), (b"SQLite format 3\0" + b"x" * 5000, "DatabaseError")):
        database.write_bytes(content)
        with pytest.raises(LayerlinkError, match=rf"search\.db is no database of a search, or a damaged one \(.*{why}"):
            search("trials=1")
        assert left_open(tmp_path) == []
    database.unlink()
    os.mkfifo(database)
    with pytest.raises(LayerlinkError, match="is a pipe and no regular file"):
        search("trials=1")
    database.unlink()
    storage = optuna.storages.RDBStorage(f"sqlite:///{database}")
    study = optuna.create_study(storage=storage, study_name="layerlink", direction="maximize")
    study.ask({"training.lr": optuna.distributions.FloatDistribution(1e9, 1e10)})
    with pytest.raises(LayerlinkError, match="it holds trials, and not what they were asked for"):
        search("trials=1")
    storage.remove_session()
    storage.engine.dispose()
