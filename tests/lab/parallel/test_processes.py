"""Two processes over gloo train as one does.

Tolerances: the sums are added up in another order, so weights differ by rounding, which eight steps magnify. In
float64 that leaves 1e-9 of a tensor's norm (4e-14 was measured), and anything weighted or averaged wrongly is far above
it. In float32, as recipes train, it leaves 1e-4 of the norm of all weights; the factors of scaled links are measured in
float32 too.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from group import SUPPORT, run_group
from layerlink.data import Batches, ImageSet, Views
from layerlink.errors import LayerlinkError, ProblemsError, UsageError
from layerlink.lab.parallel import processes
from layerlink.lab.parallel.processes import ALONE, Processes, here, joined
from layerlink.lab.run.setup import machine

JOBS = SUPPORT / "group_jobs.py"
RECIPE = """\
data: {name: digits, image_size: 32, train_images: 250, validation: 100, augment: crop, crop_padding: 1}
teacher: {model: "group_jobs:big", weights: teacher/it}
student: {model: "group_jobs:small"}
soft: {temperature: 2}
links: ["net.group2 : mse * 2", "net.group5 : mse"]
training: {epochs: 2, batch_size: 63, lr: 0.02, momentum: 0.9, clip_norm: 1, ema: 0.5}
precision: float32
"""
TEACHER = """\
data: {name: digits, image_size: 32, train_images: 250, validation: 100}
student: {model: "group_jobs:big"}
training: {epochs: 1, batch_size: 125, lr: 0.02}
precision: float32
"""
PLAIN = "student={model: vgg7, arguments: {width: 0.05}}"
ROWS = {
    "both": ["training.weight_decay=0.001"],
    "links": ["hard=0", "soft=null", 'links=["net.group3 : mse"]', "training.clip_norm=null"],
    "breaking": ['student={model: "group_jobs:breaking"}', "links=[]"],
}
ANY = {
    "any": [
        "soft=null",
        'links=["net.group3 : sp * 100", "net.group4 : rkd * 0.1", "net.group2 : mse, adapter=conv1x1(norm=True)", '
        '"net.group5 : vid * 0.1", "@output : crd(dim=8, negatives=16) * 0.1", '
        '"net.group3 + net.group4 : review * 0.1, from=1", "net.group5 : pkt * 1000", "net.group5 : cc(dim=8) * 0.01", '
        '"net.group4 : cka * 0.1", "net.group5 : itrd * 0.01", "@output : sinkd * 0.01", "net.group5 : cirkd * 0.1", '
        '"@output : dist * 0.1", "@output : ctkd * 0.1", "net.group5 : norm * 0.1", '
        '"net.group3 + net.group4 : afd * 0.1", "net.group4 : ickd", "net.group5 : factor(first=0.4) * 10"]',
    ],
}
FLOAT32 = {"plain": [PLAIN, "links=[]", "training.ema=null"]}
SCALED = ['links=["net.group2 : mse * 2, scale=teacher", "net.group5 : mse, scale=gradient"]', "data.augment=none"]
MUTUAL = [
    "teacher=null",
    'peers={other: {model: "group_jobs:small", links: ["net.group3 : sp * 100"]}}',
    "data.augment=none",
]
STAND_IN = [
    "training.batch_size=62",
    "training.epochs=1",
    "soft=null",
    "links=[]",
]  # 250 = 4 * 62 + 2: two images for three processes


def jobs(folder: Path) -> list[dict[str, Any]]:
    def job(out: str, rows: dict[str, list[str]], **more: Any) -> dict[str, Any]:
        return {"recipe": "recipe.yaml", "out": out, "rows": rows, **more}

    store = f"teacher.store={{dtype: float32, root: {folder / 'store'}}}"
    return [
        job("cohort", ROWS),
        job("any", ANY),
        job("skipping", {"it": ['student={model: "group_jobs:skipping"}', 'links=["@output -> extra : mse"]']}),
        job("float32", FLOAT32),
        job("scaled", {"live": SCALED}),
        job("mutual", {"it": MUTUAL}),
        job("stored", {"stored": [*SCALED, store]}),
        job("stopped", {"both": ROWS["both"]}, stop=[1, 1]),
    ]


def run_jobs(folder: Path, size: int, todo: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run them as ``size`` processes; what the first one says of each that came to its end."""
    (folder / "jobs.json").write_text(json.dumps(todo))
    ended = run_group([str(JOBS), "jobs.json"], size, folder)
    assert [code for code, _, _ in ended] == [0] * size, "\n".join(text for _, _, text in ended)
    assert len({out.partition('"told"')[0] for _, out, _ in ended}) == 1  # all come to the same end
    return [json.loads(line) for line in ended[0][1].splitlines() if line.startswith("{")]


@dataclass(frozen=True)
class Ended:
    """Where one process and two processes ended, and what they said."""

    one: Path
    two: Path
    said: list[dict[str, Any]]


def prepared(folder: Path, teacher: Path | None = None) -> Path:
    folder.mkdir()
    for name, text in (("recipe", RECIPE), ("teacher", TEACHER)):
        (folder / f"{name}.yaml").write_text(text)
    if teacher is None:
        run_jobs(folder, 1, [{"recipe": "teacher.yaml", "out": "teacher", "rows": {"it": []}}])
    else:
        shutil.copytree(teacher, folder / "teacher")
    return folder


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    root = tmp_path_factory.mktemp("together")
    one = prepared(root / "one")
    two = prepared(root / "two", one / "teacher")
    rows = jobs(one)
    rows[-1].pop("stop")
    run_jobs(one, 1, [*rows, {"recipe": "recipe.yaml", "out": "few", "rows": {"it": STAND_IN}}])
    return Ended(one, two, run_jobs(two, 2, jobs(two)))


def weights(folder: Path, file: str = "student.safetensors") -> dict[str, torch.Tensor]:
    return {name: value.double() for name, value in safetensors.torch.load_file(folder / file).items()}


def largest_difference(first: Path, second: Path, file: str = "student.safetensors") -> float:
    """Relative to every tensor's own norm."""
    a, b = weights(first, file), weights(second, file)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).norm() / a[name].norm().clamp_min(1e-12)) for name in a)


def rows_of(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]


def test_links_of_any_kind_end_with_one_process_s_weights(ended: Ended) -> None:
    """Losses between images, adapters with norm, trained losses, a memory, and a link that begins later."""
    assert largest_difference(ended.one / "any" / "any", ended.two / "any" / "any") < 1e-9
    one, two = (rows_of(folder / "any" / "any") for folder in (ended.one, ended.two))
    for first, second in zip(one, two, strict=True):
        for name in first.keys() - {"seconds", "images_per_second"}:
            assert second[name] == pytest.approx(first[name], rel=1e-5), name


def test_students_that_teach_each_other_end_with_one_process_s_weights(ended: Ended) -> None:
    one, two = (folder / "mutual" / "it" for folder in (ended.one, ended.two))
    assert largest_difference(one, two) < 1e-9
    assert largest_difference(one, two, "peer-other.safetensors") < 1e-9


def test_a_layer_left_out_in_some_processes_counts_where_it_was(ended: Ended) -> None:
    rows = rows_of(ended.two / "skipping" / "it")
    assert [row.keys() >= {"@output -> extra : mse", "hard", "soft"} for row in rows] == [True, True]
    assert all(0 < row["@output -> extra : mse"] < 1e3 for row in rows)


@pytest.mark.parametrize("name", ["both", "links"])
def test_students_of_a_cohort_end_with_one_process_s_weights(ended: Ended, name: str) -> None:
    assert largest_difference(ended.one / "cohort" / name, ended.two / "cohort" / name) < 1e-9


def test_what_is_logged_is_the_whole_batch_s(ended: Ended) -> None:
    one, two = (rows_of(folder / "cohort" / "both") for folder in (ended.one, ended.two))
    for first, second in zip(one, two, strict=True):
        for name in first.keys() - {"seconds", "images_per_second"}:
            assert second[name] == pytest.approx(first[name], rel=1e-5), name
    results = [json.loads((folder / "cohort/both/result.json").read_text()) for folder in (ended.one, ended.two)]
    same = ("test_accuracy", "test_images", "agreement", "validation_accuracy", "epoch", "train_images")
    assert [results[0][name] for name in same] == [results[1][name] for name in same]
    assert [results[1][name] for name in ("test_nll", "test_ece")] == pytest.approx(
        [results[0][name] for name in ("test_nll", "test_ece")], rel=1e-6
    )
    assert results[1]["first_losses"] == pytest.approx(results[0]["first_losses"], rel=1e-6)


def test_float32_differs_by_rounding(ended: Ended) -> None:
    a, b = (
        torch.cat([value.flatten() for value in weights(folder / "float32" / "plain").values()])
        for folder in (ended.one, ended.two)
    )
    assert float((a - b).norm() / a.norm()) < 1e-4


@pytest.mark.parametrize("name", ["scaled/live", "stored/stored"])
def test_scaled_links_and_stored_teachers_agree(ended: Ended, name: str) -> None:
    factors = [
        json.loads((folder / name / "result.json").read_text())["link_factors"] for folder in (ended.one, ended.two)
    ]
    assert factors[1] == pytest.approx(factors[0], rel=1e-4)
    assert largest_difference(ended.one / name, ended.two / name) < 1e-4
    if name.startswith("stored"):
        told = next(said["told"] for said in ended.said if said["out"] == "stored")
        assert told[0].startswith("teacher stored: 250 images, logits float32")


def test_what_is_no_number_in_one_process_drops_the_student_in_all(ended: Ended) -> None:
    said = next(said for said in ended.said if said["out"] == "cohort")
    assert said["ends"][2] == "NotFiniteError"
    assert "epoch 1, step 2" in said["told"][-1]
    assert not (ended.two / "cohort/breaking/result.json").exists()
    lines = (ended.two / "cohort/breaking/warnings.txt").read_text().splitlines()
    assert sum("is dropped, the others go on" in line for line in lines) == 1  # one process writes


@pytest.mark.parametrize("size", [1, 2])
def test_a_stopped_training_goes_on_with_any_number_of_processes(ended: Ended, size: int, tmp_path: Path) -> None:
    folder = prepared(tmp_path / "again", ended.one / "teacher")
    shutil.copytree(ended.two / "stopped", folder / "stopped")
    assert (folder / "stopped/both/checkpoint.pt").exists()
    (said,) = run_jobs(folder, size, [{"recipe": "recipe.yaml", "out": "stopped", "rows": {"both": ROWS["both"]}}])
    assert said["ends"][0]["epochs"] == 2
    assert largest_difference(ended.one / "stopped/both", folder / "stopped/both") < 1e-9
    warned = folder / "stopped/both/warnings.txt"
    assert ("processes was 2, is 1" in (warned.read_text() if warned.exists() else "")) is (size == 1)


@pytest.mark.long
def test_a_batch_with_fewer_images_than_processes(ended: Ended, tmp_path: Path) -> None:
    three = prepared(tmp_path / "three", ended.one / "teacher")
    run_jobs(three, 3, [{"recipe": "recipe.yaml", "out": "few", "rows": {"it": STAND_IN}}])
    assert largest_difference(ended.one / "few/it", three / "few/it") < 1e-9


def test_parts_make_up_the_batch() -> None:
    images = ImageSet(torch.arange(23 * 16, dtype=torch.uint8).view(23, 1, 4, 4), torch.arange(23) % 5, tuple("abcde"))
    views = Views(4, (0.0,), (1.0,), "crop-flip", padding=1)
    whole = list(Batches(images, views, 7, seed=3).epoch(2))
    parts = [list(Batches(images, views, 7, seed=3, part=(rank, 3)).epoch(2)) for rank in range(3)]
    for step, batch in enumerate(whole):
        pieces = [part[step] for part in parts if not part[step].stand_in]
        assert torch.equal(torch.cat([piece.images for piece in pieces]), batch.images)
        assert torch.equal(torch.cat([piece.indices for piece in pieces]), batch.indices)
        assert sum(piece.share for piece in pieces) == pytest.approx(1)
        assert {piece.count for piece in pieces} == {len(batch.labels)}
    stand_ins = [part[-1] for part in parts if part[-1].stand_in]
    assert [(piece.share, len(piece.labels)) for piece in stand_ins] == [(0.0, 1)]


def test_one_process_asks_nobody() -> None:
    assert here() is ALONE
    assert ALONE.first
    assert ALONE.any(True, False) == (True, False)
    assert ALONE.least(4) == 4
    assert ALONE.first_says(lambda: 5) == 5
    values = torch.ones(2)
    assert ALONE.sum(values) is values
    assert ALONE.part(7) == slice(0, 7)
    assert ALONE.steps_between_questions == 1


def test_a_scheduler_s_own_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "1")
    with joined() as group:
        assert group is ALONE


def test_others_that_cannot_be_reached_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ("0", "2", "0", "2", "127.0.0.1", "no-port")
    for name, value in zip(processes.VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="MASTER_PORT=no-port"), joined():
        pass


@pytest.fixture
def as_one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that thinks so, and hears nothing."""
    other = Processes()
    other.rank, other.size, other.local_rank, other.local_size = 1, 2, 1, 2
    monkeypatch.setattr(processes, "_here", other)


@pytest.mark.usefixtures("as_one_of_two")
def test_every_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(machine.choose_device(name)) for name in ("auto", "cuda", "cpu")] == ["cuda:1", "cuda:1", "cpu"]
    assert taken == [1, 1]
    with pytest.raises(UsageError, match="every process takes its own; got 'cuda:0'"):
        machine.choose_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="this machine has 1 CUDA GPUs for 2 processes"):
        machine.choose_device("auto")


@pytest.mark.usefixtures("as_one_of_two")
def test_a_batch_that_is_too_small_is_told(recipe: Callable[..., Any]) -> None:
    from layerlink.lab.run.setup.setup import set_up

    with pytest.raises(ProblemsError, match="must give each of the 2 processes an example; got 1"):
        set_up(recipe("training.batch_size=1"))


def test_an_error_of_the_first_process_keeps_its_kind() -> None:
    for kind in (UsageError, ProblemsError, LayerlinkError):
        error = processes._elsewhere(kind, "what happened")
        assert isinstance(error, kind)
        assert str(error) == "what happened"


def test_one_process_loads_no_more_of_torch_distributed_than_torch_does() -> None:
    code = "import sys, torch; had = set(sys.modules); import layerlink.lab.run.training, layerlink.cli.run\n"
    code += "more = {name for name in set(sys.modules) - had if name.startswith('torch.distributed')}\n"
    code += "assert not more, more"
    subprocess.run([sys.executable, "-c", code], check=True)
