"""Reports of runs on texts and on sequences speak of these, and the files keep their columns."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import tiny_bert
import tiny_llama
from layerlink.cli.main import run_command_line
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.report.building import write_report
from layerlink.lab.report.gather.records import read_record
from layerlink.lab.report.gather.rows import gather
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from layerlink.measure import timing


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher, and a student of one layer with it and without it."""
    folder = tmp_path_factory.mktemp("texts")
    model = tiny_bert.bert(folder / "model", layers=2)
    tiny_bert.tables(folder / "data", train=32, dev=16, test=16)
    student = f'student: {{model: "{model}", arguments: {{layers: [1]}}}}'
    taught = f'teacher: {{model: "{model}", weights: "{folder / "runs/teacher"}"}}'
    rows = {"teacher-0": (model, []), "alone-0": ("", [student]), "kd-0": ("", [student, taught, "soft: {weight: 1}"])}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERLINK_CACHE", str(folder / "cache"))
        for name, (named, more) in rows.items():
            run = RunFolder(folder / "runs" / name.replace("teacher-0", "teacher"))
            text = tiny_bert.recipe(named, folder / "data", *more, epochs=1)
            train(set_up(load_recipe("r.yaml", [], text=text)), run)
    return folder


def test_a_report_on_texts_speaks_of_texts(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERLINK_CACHE", str(texts / "cache"))
    monkeypatch.setattr(timing, "_SECONDS", 0)
    report = write_report([texts / "runs"], tmp_path / "out")
    assert report.left_out == ""
    assert "of the test texts right" in report.answer
    said = (tmp_path / "out/report.md").read_text()
    for words in (
        "Each run read 16 test texts once, with the epoch that did best on validation texts",
        "Terms are of the training texts",
        "16 validation texts",
        "MFLOP a text",
    ):
        assert words in said, words
    assert "image" not in "\n".join(
        line for line in said.splitlines() if "![" not in line and "train_images" not in line
    )
    with (tmp_path / "out/tables/runs.csv").open() as file:
        row = next(csv.DictReader(file))
    assert {"train_images", "validation_images", "test_images"} <= row.keys()


def test_a_report_on_a_language_model_speaks_of_sequences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAYERLINK_CACHE", str(tmp_path / "cache"))
    model = tiny_llama.llama(tmp_path / "model", layers=1)
    tiny_llama.tables(tmp_path / "data", train=40, dev=12, test=12)
    recipe = tiny_llama.recipe(model, tmp_path / "data", epochs=1)
    train(set_up(load_recipe("r.yaml", [], text=recipe)), RunFolder(tmp_path / "runs/lm-0"))
    assert run_command_line(["report", str(tmp_path / "runs")]) == 0
    assert "on the test sequences" in " ".join(capsys.readouterr().out.split())
    assert "test sequences once" in (tmp_path / "runs/report/report.md").read_text()


def test_what_a_run_is_on_is_no_word_of_a_stranger(texts: Path, tmp_path: Path) -> None:
    run = RunFolder(texts / "runs/alone-0")
    assert gather([texts / "runs"]).noun == "texts"
    result = json.loads(run.result.read_text())
    assert result["examples"] == "texts"
    for told in ("<b>", 7, None, ["texts"]):  # a run of before it was told has none
        folder = tmp_path / str(told).strip("<>[]'")
        folder.mkdir()
        (folder / "recipe.yaml").write_text(run.recipe.read_text())
        (folder / "result.json").write_text(json.dumps({**result, "examples": told}))
        assert read_record(folder).noun == "texts"
