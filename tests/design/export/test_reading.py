"""Exported files used as the run is: by ``ll.load`` and by the verb."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import layerlink as ll
from exported import finished_run
from layerlink.cli.main import run_command_line
from layerlink.design.export import exporting
from versions import need_onnx_writer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("exported"))


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "SECONDS", 0.0)


@pytest.mark.parametrize("preprocessing", [False, True])
@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_a_file_answers_as_its_run_does(to: str, preprocessing: bool, run: Path, tmp_path: Path) -> None:
    need_onnx_writer()
    (found,) = ll.export(run, to, preprocessing=preprocessing, out=tmp_path)
    images = torch.randint(0, 256, (5, 1, 32, 32), dtype=torch.uint8)
    whole, file = ll.load(run), ll.load(found.path)
    expected = whole(images)
    assert torch.allclose(file(images), expected, atol=1e-4 * float(expected.abs().max()))
    assert (file.classes, file.task, file.preprocessing) == (whole.classes, whole.task, whole.preprocessing)
    assert file.takes_pixels == preprocessing


def test_the_verb_predicts_with_a_file_as_with_the_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["export", str(run), "--to", "torch", "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    for part in ("largest difference", "agrees with teacher", "accuracy", "batch 128, ms (torch)", "student.pt2"):
        assert part in told
    assert told.splitlines()[-1] == f"written    {tmp_path / 'out'}, with export.json"
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    images = [str(tmp_path / f"{number}.png") for number in range(3)]
    rows = []
    for model in (run, tmp_path / "out/student.pt2"):
        assert run_command_line(["predict", str(model), *images]) == 0
        rows.append([line.split(",")[:2] for line in capsys.readouterr().out.splitlines()])
    assert rows[0] == rows[1]
    assert len(rows[0]) == 4


def test_a_program_of_somebody_else_is_not_opened(run: Path, tmp_path: Path) -> None:
    (found,) = ll.export(run, "torch", out=tmp_path / "out")
    moved = tmp_path / "student.pt2"
    shutil.copy(found.path, moved)
    with pytest.raises(ll.UsageError, match=r"could run code as it is opened.*--trust-code"):
        ll.load(moved)
    assert ll.load(moved, trust_code=True).classes == ll.load(found.path).classes
    found.path.write_bytes(moved.read_bytes() + b"more")
    with pytest.raises(ll.UsageError, match="could run code"):
        ll.load(found.path)


def changed(path: Path, **facts: object) -> Path:
    """A copy whose facts say something else."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(path))
    told = json.loads(model.metadata_props[0].value)
    onnx.helper.set_model_props(model, {"layerlink": json.dumps({**told, **facts})} if facts else {})
    copy = path.with_name("changed.onnx")
    onnx.save(model, str(copy))
    return copy


def test_what_a_file_says_wrongly_is_told(run: Path, tmp_path: Path) -> None:
    need_onnx_writer()
    (found,) = ll.export(run, "onnx", out=tmp_path)
    with pytest.raises(ll.LayerlinkError, match="layerlink export did not write it"):
        ll.load(changed(found.path))
    with pytest.raises(ll.LayerlinkError, match="classes must be names; got 3"):
        ll.load(changed(found.path, classes=3))
    with pytest.raises(ll.LayerlinkError, match="std > 0"):
        ll.load(changed(found.path, preprocessing={"image_size": 32, "mean": [0.0], "std": [0.0]}))
    with pytest.raises(ll.UsageError, match="task os:system would be called"):
        ll.load(changed(found.path, task={"name": "os:system", "arguments": {}}))
    found.path.write_bytes(b"nothing")
    with pytest.raises(ll.LayerlinkError, match="no model that onnxruntime reads"):
        ll.load(found.path)


def test_a_wrong_word_on_the_command_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["export", str(run), "--to", "onxx"]) == 2
    assert "unknown format 'onxx'. Did you mean onnx?" in capsys.readouterr().err
    assert run_command_line(["export", str(run), "--to", "torch", "--size", "64"]) == 2
    assert "--size 64: the student's weights are those of one size" in capsys.readouterr().err
    assert not (run / "export").exists()
