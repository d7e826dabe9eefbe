from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layerlink.errors import LayerlinkError
from layerlink.lab.report.gather.rows import gather
from layerlink.lab.report.measured import comparison
from layerlink.lab.report.measured.comparison import Measurements, confusion, measure_rows
from layerlink.lab.run.folder import RunFolder
from layerlink.measure import timing
from layerlink.measure.latency import measure_latency


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_SECONDS", 0)


@pytest.fixture(scope="module")
def measured(study: Path) -> Measurements:
    gathered = gather([study])
    return measure_rows(gathered, gathered.rows)


def test_confusion_counts_each_pair() -> None:
    found = confusion(torch.tensor([0, 0, 2, 2, 2]), torch.tensor([0, 1, 2, 2, 0]), 3)
    assert found.tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 2]]


def test_measured_again_is_what_the_runs_recorded(measured: Measurements, study: Path, teacher_run: Path) -> None:
    assert [it.name for it in measured.students] == ["labels only", "links"]
    for it in measured.students:
        result = RunFolder(study / f"{it.name}-0").read_result()
        assert it.value == result["test_accuracy"]
        assert it.parameters == result["parameters"]
        assert 100 * int(it.confusion.trace()) / int(it.confusion.sum()) == pytest.approx(result["test_accuracy"])
        assert it.with_teacher is not None
        agreed = 100 * int(it.with_teacher.trace()) / int(it.with_teacher.sum())
        assert it.agreement == pytest.approx(result.get("agreement", agreed))
        assert agreed == pytest.approx(result.get("agreement", agreed))
        assert it.with_teacher.sum(dim=1).tolist() == measured.teacher.confusion.sum(dim=0).tolist()
    taught = RunFolder(teacher_run)
    assert measured.teacher.value == pytest.approx(taught.read_result()["test_accuracy"])
    assert measured.teacher.size == taught.student.stat().st_size
    assert measured.teacher.agreement is None
    assert len(measured.classes) == 10


def test_the_teacher_costs_more(measured: Measurements) -> None:
    student = measured.students[0]
    assert measured.teacher.flops > 2 * student.flops
    assert measured.teacher.parameters > student.parameters
    assert [it.batch for it in student.latency] == [1, 128]
    for it in (*measured.teacher.latency, *student.latency):
        assert 0 < it.low <= it.median <= it.high
        assert it.passes >= 7
    assert "float32" in measured.conditions
    assert "thread" in measured.conditions


def test_every_row_is_compared_on_the_same_pairs(measured: Measurements) -> None:
    columns = list(dict.fromkeys(cell.when for cell in measured.similarity))
    assert columns == ["labels only, before", "labels only, after", "links, before", "links, after"]
    by_column = [[cell for cell in measured.similarity if cell.when == when] for when in columns]
    assert len({tuple(cell.pair for cell in cells) for cells in by_column}) == 1
    assert not any(cell.linked for cell in by_column[0])
    # The same seed begins with the same weights, whatever it is taught with.
    assert [cell.value for cell in by_column[0]] == [cell.value for cell in by_column[2]]


class Sleepy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        self.modes.append(self.training)
        time.sleep(0.01)
        return images


def test_latency_is_milliseconds_in_eval_mode_after_a_warm_up() -> None:
    model = Sleepy()
    found = measure_latency(model, torch.zeros(4, 1), contextlib.nullcontext)
    assert 10 <= found.low <= found.median <= found.high < 100
    assert (found.batch, found.passes) == (4, 7)
    assert model.modes == [False] * 10
    assert model.training


def test_a_teacher_that_is_gone_is_said(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "links-0", tmp_path / "links-0")
    recipe = tmp_path / "links-0" / "recipe.yaml"
    lines = ["  weights: gone/teacher" if "weights: /" in line else line for line in recipe.read_text().splitlines()]
    recipe.write_text("\n".join(lines))
    gathered = gather([tmp_path])
    with pytest.raises(LayerlinkError, match=r"^the teacher's weights are not at gone/teacher"):
        measure_rows(gathered, gathered.rows)
    shutil.copytree(study / "labels only-0", tmp_path / "alone" / "labels only-0")
    alone = gather([tmp_path / "alone"])
    with pytest.raises(LayerlinkError, match=r"^there is no teacher among these runs$"):
        measure_rows(alone, alone.rows)


def test_weights_that_are_gone_are_said(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "links-0", tmp_path / "links-0")
    (tmp_path / "links-0" / "student.safetensors").unlink()
    gathered = gather([tmp_path])
    with pytest.raises(LayerlinkError, match=r"student\.safetensors is missing"):
        measure_rows(gathered, gathered.rows)


def test_images_are_loaded_once(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    real = comparison.set_up

    def spy(loaded: object, **more: object) -> object:
        given.append(more["images"])
        return real(loaded, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(comparison, "set_up", spy)
    gathered = gather([study])
    measure_rows(gathered, gathered.rows)
    assert given[0] is None
    assert given[1] is not None
