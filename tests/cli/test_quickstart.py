from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from layerlink.cli.main import run_command_line
from layerlink.lab.sweep import file
from layerlink.lab.sweep.file import Plan, load_sweep


@pytest.fixture
def one_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sweep with one epoch."""

    def load(source: str, overrides: Sequence[str] = (), *, out: Path | None = None) -> Plan:
        return load_sweep(source, [*overrides, "training.epochs=1", "device=cpu"], out=out)

    monkeypatch.setattr(file, "load_sweep", load)


@pytest.mark.long  # .ci/run has the wheel do the same
@pytest.mark.usefixtures("one_epoch")
def test_a_sweep_and_its_report_and_nothing_is_trained_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["quickstart", "--seeds", "1"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "page   runs/quickstart/report/index.html"
    for row in ("labels only", "soft and links"):
        assert f"\n{row} " in out
    page = Path("runs/quickstart/report/index.html").read_text("utf-8")
    assert "layerlink sweep digits/quickstart seeds=1 --out runs/quickstart" in page
    result = json.loads(Path("runs/quickstart/soft-and-links-0/result.json").read_text())
    assert (result["train_images"], result["test_images"]) == (1293, 360)
    assert run_command_line(["quickstart", "--seeds", "1"]) == 0
    again = capsys.readouterr().out
    assert "epoch" not in again.partition("row ")[0]
    assert again.splitlines()[-1] == out.splitlines()[-1]


@pytest.mark.long
def test_a_teacher_is_worth_more_than_chance_where_labels_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["quickstart"]) == 0
    said, told = capsys.readouterr()
    assert "warning:" not in said + told  # "warnings" is a column of the table

    def read(row: str, seed: int) -> float:
        result = json.loads(Path(f"runs/quickstart/{row}-{seed}/result.json").read_text())
        return float(result["test_accuracy"])

    assert "“soft” and “soft and links” are above “labels only” by more than chance" in said
    for row in ("soft", "soft-and-links"):
        assert all(read(row, seed) > read("labels-only", seed) + 3 for seed in range(4))
