"""Trackers: what arrives there is what the run's own folder says; one that fails ends nothing."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from layerlink.errors import UsageError
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.run.folder import RunFolder, is_term
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train, train_cohort
from layerlink.lab.track.table import STARTS
from layerlink.lab.track.tracker import TrackedRun
from open_files import left_open

Make = Callable[..., LoadedRecipe]


class Fake:
    """Remembers what it is told; raises where it is to."""

    made: list[Fake]
    fails_at: int | None = None

    def __init__(self, run: TrackedRun) -> None:
        self.run, self.known = run, run.known or f"known-{run.id}"
        self.rows: dict[int, dict[str, float]] = {}
        self.result: dict[str, float] = {}
        self.state = ""
        type(self).made.append(self)

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        if epoch == self.fails_at:
            raise ConnectionError("no route to host")
        assert epoch not in self.rows
        self.rows[epoch] = dict(values)

    def done(self, values: Mapping[str, float], epochs: int) -> None:
        self.result = dict(values)

    def close(self, state: str) -> None:
        self.state = state


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    class Own(Fake):
        made: list[Fake] = []  # noqa: RUF012 - of this test alone

    monkeypatch.setitem(STARTS, "tensorboard", Own)
    return Own


def rows_of(run: RunFolder) -> dict[int, dict[str, float]]:
    """What the run's own CSV says."""
    found = {}
    for row in run.read_metrics():
        epoch = int(row.pop("epoch"))
        found[epoch] = {f"terms/{name}" if is_term(name) else name: float(value) for name, value in row.items()}
    return found


def test_terms_scores_and_recipe_arrive(recipe: Make, tmp_path: Path, fake: type[Fake]) -> None:
    run = RunFolder(tmp_path / "run")
    train(set_up(recipe("track=tensorboard", links=True)), run)
    (told,) = fake.made
    assert told.rows == rows_of(run)
    assert {"terms/hard", "terms/soft", "terms/group2 : mse * 2", "validation_accuracy"} <= told.rows[1].keys()
    assert told.result["test_accuracy"] == run.read_result()["test_accuracy"]
    assert told.run.text == run.read_text(run.recipe)
    assert told.run.recipe["links"] == ["group2 : mse * 2", "group5 : mse"]
    assert (told.run.name, told.run.project, told.state) == ("run", "layerlink", "finished")


def test_a_run_that_goes_on_goes_on_in_the_same_tracked_run(
    recipe: Make, notes: Any, tmp_path: Path, fake: type[Fake]
) -> None:
    run = RunFolder(tmp_path / "run")

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        train(set_up(recipe("track=tensorboard")), run, watch=notes((1, 1), stop))
    run.checkpoint.unlink(missing_ok=True)  # killed before it was written: its first epoch is made, not told, again
    train(set_up(recipe("track=tensorboard")), run, resume=True)
    before, after = fake.made
    assert before.state == "stopped"
    assert before.rows.keys() == {1}
    assert after.rows.keys() == {2, 3}
    assert after.run.known == before.known
    assert {**before.rows, **after.rows}.keys() == rows_of(run).keys()


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_tracker_that_fails_is_told_of_once_and_the_run_goes_on(
    recipe: Make, notes: Any, tmp_path: Path, fake: type[Fake], fails_at: int
) -> None:
    fake.fails_at, run, watch = fails_at, RunFolder(tmp_path / "run"), notes()
    train(set_up(recipe("track=tensorboard")), run, watch=watch)
    assert [text for text in watch.warnings if "track" in text] == [
        f"track: tensorboard failed and is told nothing more of {run.path}; the run goes on. "
        "ConnectionError: no route to host"
    ]
    assert run.result.exists()
    assert len(fake.made[0].rows) == fails_at - 1


def test_a_missing_package_is_told_with_its_extra(
    recipe: Make, notes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    watch = notes()
    train(set_up(recipe("track=wandb", "training.epochs=1")), RunFolder(tmp_path / "run"), watch=watch)
    assert any("pip install 'layerlink[wandb]'" in text for text in watch.warnings)


def test_of_a_cohort_every_run_is_a_tracked_run_of_its_own(recipe: Make, tmp_path: Path, fake: type[Fake]) -> None:
    loaded = [recipe("track=tensorboard", "training.epochs=1"), recipe("track=tensorboard", "training.lr=1.0e+30")]
    runs = [RunFolder(tmp_path / name) for name in ("good", "bad")]
    train_cohort(list(zip(set_up_cohort(loaded), runs, strict=True)))
    good, bad = fake.made
    assert (good.run.name, good.state, bad.run.name, bad.state) == ("good", "finished", "bad", "failed")
    assert good.rows == rows_of(runs[0])
    assert good.run.id != bad.run.id


def test_a_wrong_name_is_answered_with_the_closest(recipe: Make) -> None:
    with pytest.raises(UsageError, match=r"unknown tracker 'tensorbord'. Did you mean tensorboard\?"):
        recipe("track=tensorbord")
    given = recipe("track=[mlflow, {wandb: {project: mine, arguments: {tags: [a]}}}]").recipe.track
    assert list(given) == ["mlflow", "wandb"]
    assert given["wandb"].project == "mine"


# Warnings in what follows are those of other people's tools.


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_has_it_all(recipe: Make, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = RunFolder(tmp_path / "run")
    train(set_up(recipe("track=tensorboard", links=True)), run)
    assert left_open(run.path) == []
    found = EventAccumulator(str(run.path / "tensorboard")).Reload()
    for epoch, row in rows_of(run).items():
        for name, value in row.items():
            assert {it.step: it.value for it in found.Scalars(name)}[epoch] == pytest.approx(value, rel=1e-6)
    assert found.Scalars("test_accuracy")[0].value == pytest.approx(run.read_result()["test_accuracy"])
    assert "group2 : mse * 2" in found.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0].decode()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_it_all(recipe: Make, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    run = RunFolder(tmp_path / "run")
    train(set_up(recipe("track={mlflow: {project: digits}}", links=True)), run)
    assert left_open(run.path) == []
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{run.path / 'mlflow' / 'mlflow.db'}")
    (experiment,) = [it for it in client.search_experiments() if it.name == "digits"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["links.0"] == "group2 : mse * 2"
    assert found.data.params["training.lr"] == "0.02"
    for name, column in (("terms/hard", "terms/hard"), ("terms/group2 : mse _ 2", "terms/group2 : mse * 2")):
        history = {it.step: it.value for it in client.get_metric_history(found.info.run_id, name)}
        assert history == {epoch: row[column] for epoch, row in rows_of(run).items()}
    assert found.data.metrics["test_accuracy"] == run.read_result()["test_accuracy"]
    saved = next((run.path / "mlflow" / "artifacts").rglob("recipe.yaml"))
    assert saved.read_text() == run.read_text(run.recipe)


def records(content: bytes) -> Iterator[bytes]:
    """The records of wandb's offline files: LevelDB's log format after 7 bytes of their own."""
    place, parts = 7, []
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        size, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        parts.append(content[place + 7 : place + 7 + size])
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_wandb_has_it_all(recipe: Make, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    run = RunFolder(tmp_path / "run")
    train(set_up(recipe("track={wandb: {project: digits}}", links=True)), run)
    assert left_open(run.path) == []
    (file,) = (run.path / "wandb").glob("offline-run-*/*.wandb")
    rows, summary, config, projects = {}, {}, {}, set()
    for data in records(file.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        if record.HasField("run"):
            projects.add(record.run.project)
            config |= {it.key: json.loads(it.value_json) for it in record.run.config.update}
        if record.HasField("history"):
            values = {(it.key or it.nested_key[0]): json.loads(it.value_json) for it in record.history.item}
            rows[int(values["_step"])] = values
        if record.HasField("summary"):
            summary |= {(it.key or it.nested_key[0]): json.loads(it.value_json) for it in record.summary.update}
    assert projects == {"digits"}
    assert config["links"] == ["group2 : mse * 2", "group5 : mse"]
    for epoch, row in rows_of(run).items():
        assert {name: rows[epoch][name] for name in row} == row
    assert summary["test_accuracy"] == run.read_result()["test_accuracy"]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_trackio_has_it_all(recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported first
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    run = RunFolder(tmp_path / "run")
    train(set_up(recipe("track={trackio: {project: digits}}", links=True)), run)
    assert left_open(run.path) == []
    name = json.loads((run.path / "track.json").read_text())["known"]["trackio"]
    found = {row["step"]: row for row in SQLiteStorage.get_logs("digits", name) if "test_accuracy" not in row}
    for epoch, row in rows_of(run).items():
        assert {column: found[epoch][column] for column in row} == row
    config = SQLiteStorage.get_run_config("digits", name)
    assert config["links"] == ["group2 : mse * 2", "group5 : mse"]
    results = [row for row in SQLiteStorage.get_logs("digits", name) if "test_accuracy" in row]
    assert results[0]["test_accuracy"] == run.read_result()["test_accuracy"]
