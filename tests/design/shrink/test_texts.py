"""A student derived from a finished run on texts, and trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from layerlink.cli.main import app
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from tiny_bert import bert, recipe, tables


def test_a_run_on_texts_is_shrunk_and_its_student_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERLINK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    model = bert(Path("model"), layers=4)
    tables(Path("data"), train=48, dev=16, test=16)
    train(set_up(load_recipe("r.yaml", text=recipe(model, Path("data"), epochs=1))), RunFolder(Path("run")))
    said = CliRunner().invoke(app, ["shrink", "run", "--flops", "0.5", "--out", "new"], catch_exceptions=False).output
    assert "layers 2 of 4 in bert.encoder.layer" in said

    loaded = load_recipe("new/recipe.yaml")
    texts = loaded.recipe.data.texts
    assert texts is not None
    assert (texts.tokenizer, texts.classes) == ("model", ("bad", "good"))  # the teacher's: a file has none of its own
    wanted = ["0 -> bert.encoder.layer.0", "3 -> bert.encoder.layer.1"]
    assert list(loaded.recipe.links) == [
        f"bert.encoder.layer.{it} : mse, scale=teacher, where=attention_mask" for it in wanted
    ]
    train(set_up(loaded), RunFolder(Path("student")))
    result = json.loads(Path("student/result.json").read_text())
    assert result["examples"] == "texts"
    assert result["test_images"] == 16
