"""Files of runs and weights that are damaged in any way: what they held, or told; never another number in silence."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cases import cases, damages
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.weights import load_weights, read_weights
from layerlink.lab.report.gather.rows import gather
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.resume import claim
from layerlink.lab.sweep.folder import SweepFolder
from trees import changed_trees

FakeRun = Callable[..., Path]
STATE = {"a.weight": torch.arange(120.0).reshape(4, 30), "b": torch.arange(5), "c": torch.tensor(1.5)}


def same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return list(one) == list(two) and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("weights")
    safetensors.torch.save_file(STATE, folder / "w.safetensors")
    torch.save(STATE, folder / "w.pt")
    torch.save({"state_dict": STATE}, folder / "w.pth")
    torch.save(STATE, folder / "w.th", _use_new_zipfile_serialization=False)
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


@given(data=st.data(), suffix=st.sampled_from([".safetensors", ".pt", ".pth", ".th"]))
@cases(2)
def test_damaged_weights_are_read_or_told(
    data: st.DataObject, suffix: str, weights: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(data.draw(damages(weights[suffix])))
    try:
        found = read_weights(path)
    except LayerlinkError as error:
        assert str(path) in str(error)
        return
    assert all(isinstance(value, torch.Tensor) for value in found.values())
    if suffix in (".pt", ".pth"):  # these carry checksums
        assert same(found, STATE)


@given(data=st.data())
def test_damaged_weights_never_leave_a_model_half_loaded(
    data: st.DataObject, weights: dict[str, bytes], tmp_path: Path
) -> None:
    model = nn.Linear(3, 2)
    safetensors.torch.save_file(nn.Linear(3, 2).state_dict(), tmp_path / "any.safetensors")
    path = tmp_path / "any.safetensors"
    path.write_bytes(data.draw(damages(path.read_bytes())))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        load_weights(model, path)
    except LayerlinkError:
        assert same(before, model.state_dict())


def test_a_turned_bit_in_a_checkpoint_is_told(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_checkpoint({"x": torch.full((50,), 3.0)}, keep_best=())
    content = bytearray(run.checkpoint.read_bytes())
    content[content.index(torch.full((50,), 3.0).numpy().tobytes()) + 2] ^= 1
    run.checkpoint.write_bytes(content)
    assert float(torch.load(run.checkpoint, weights_only=True)["x"][0]) != 3  # torch itself says nothing
    with pytest.raises(LayerlinkError, match=r"checkpoint\.pt is damaged"):
        run.read_checkpoint(run.checkpoint)
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(LayerlinkError, match=r"w\.pt is damaged or truncated \(the checksum of"):
        read_weights(tmp_path / "w.pt")


class Calls:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th"])
def test_a_hostile_pickle_in_weights_or_a_checkpoint_does_not_run(suffix: str, zipped: bool, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    path = tmp_path / f"hostile{suffix}"
    torch.save({"x": Calls(mark)}, path, _use_new_zipfile_serialization=zipped)
    for read in (read_weights, RunFolder(tmp_path).read_checkpoint):
        with pytest.raises(LayerlinkError):
            read(path)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Calls(mark)))
    with pytest.raises(LayerlinkError):
        read_weights(tmp_path / "plain.pt")
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists(), "the pickle must be one that would run"


@given(data=st.data())
@cases(1)
def test_a_damaged_checkpoint_is_the_right_one_or_told(data: st.DataObject, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    state = {"learner": {"student": STATE["a.weight"]}, "position": {"epoch": 3, "rows": [{"epoch": 1, "hard": 0.5}]}}
    if not run.checkpoint_before.exists():
        run.write_checkpoint(state, keep_best=())
        run.checkpoint.replace(run.checkpoint_before)
    run.checkpoint.write_bytes(data.draw(damages(run.checkpoint_before.read_bytes())))
    try:
        found = run.read_checkpoint(run.checkpoint)
    except LayerlinkError as error:
        assert "checkpoint.pt is damaged" in str(error)
        return
    assert torch.equal(found["learner"]["student"], STATE["a.weight"])
    assert found["position"] == state["position"]


NAMES = ["recipe.yaml", "environment.json", "data.json", "metrics.csv", "result.json", "failed.txt", "warnings.txt"]


@given(data=st.data(), name=st.sampled_from(NAMES))
@cases(1)
def test_a_damaged_run_is_read_or_told(data: st.DataObject, name: str, tmp_path: Path, fake_run: FakeRun) -> None:
    folder = tmp_path / "study" / "run-0"
    if not folder.exists():
        fake_run(folder, 0, 70.0)
        (folder / "warnings.txt").write_text("one\n")
        (tmp_path / name).write_text("")
    run = RunFolder(folder)
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    whole = kept.get(name, b"it broke\n")
    if name.endswith(".json") and data.draw(st.booleans()):
        changed: Any = json.dumps(data.draw(changed_trees([json.loads(whole)]))).encode()
    else:
        changed = data.draw(damages(whole))
    (folder / name).write_bytes(changed)
    try:
        found = gather([tmp_path / "study"])
        assert [record.state for record in found.runs] in (["finished"], ["damaged"], ["failed"], ["unfinished"])
        for read in (run.read_environment, run.read_data, run.read_result):
            try:
                assert isinstance(read(), dict)
                assert isinstance(run.read_metrics(), list)
            except LayerlinkError as error:
                assert str(folder) in str(error)
        if found.runs[0].recipe is not None:
            try:
                claim(run, found.runs[0].recipe, resume=True)
            except LayerlinkError as error:
                assert str(folder) in str(error)
    finally:
        (folder / name).unlink()
        for each, content in kept.items():
            (folder / each).write_bytes(content)


MANIFEST = {
    "name": "study",
    "title": "A study",
    "question": "What?",
    "source": "others",
    "command": "layerlink sweep study",
    "axes": {"soft.temperature": [1, 2]},
    "seeds": [0],
    "rows": [
        {"name": "one", "changes": {"hard": 1}, "baseline": True, "published": 70.5, "runs": {"0": "run-0"}},
        {"name": "two", "changes": {}, "baseline": False, "published": None, "runs": {"0": "two-0", "1": "two-1"}},
    ],
    "teacher": "teacher",
}


@given(data=st.data())
@cases(1)
def test_a_damaged_sweep_manifest_is_read_or_told(data: st.DataObject, tmp_path: Path) -> None:
    if data.draw(st.booleans()):
        content = json.dumps(data.draw(changed_trees([MANIFEST]))).encode()
    else:
        content = data.draw(damages(json.dumps(MANIFEST).encode()))
    (tmp_path / "sweep.json").write_bytes(content)
    try:
        gather([tmp_path])
    except LayerlinkError as error:
        assert str(tmp_path) in str(error)
    try:
        rows = SweepFolder(tmp_path).read()["rows"]
    except LayerlinkError as error:
        assert "sweep.json is missing or damaged" in str(error)
    else:
        assert all(isinstance(row["name"], str) and all(map(int, row["runs"])) is not None for row in rows)


@pytest.mark.parametrize("name", ["data.json", "environment.json", "result.json"])
def test_json_that_is_too_deep_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("[" * 100_000)
    run = RunFolder(tmp_path)
    read = {"data.json": run.read_data, "environment.json": run.read_environment, "result.json": run.read_result}[name]
    with pytest.raises(LayerlinkError, match=r"json is missing or damaged"):
        read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_accuracy": "70"}, "test_accuracy must be 0 to 100 percent; got '70'"),
        ({"validation_accuracy": True}, "validation_accuracy must be 0 to 100 percent; got True"),
        ({"agreement": 101}, "agreement must be 0 to 100 percent; got 101"),
        ({"test_images": [1]}, r"test_images must be a number; got \[1\]"),
        ({"train_seconds": float("inf")}, "train_seconds must be a number; got inf"),
    ],
)
def test_a_result_of_impossible_numbers_is_told(
    change: dict[str, Any], message: str, tmp_path: Path, fake_run: FakeRun
) -> None:
    run = RunFolder(fake_run(tmp_path / "run-0", 0, 70.0, **change))
    with pytest.raises(LayerlinkError, match=message):
        run.read_result()


def test_metrics_that_are_no_table_are_told(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for content in (b"epoch\n\xff\n", b'epoch\n"' + b"1" * 200_000):
        run.metrics.write_bytes(content)
        with pytest.raises(LayerlinkError, match=r"metrics\.csv is damaged"):
            run.read_metrics()


def test_an_environment_without_packages_does_not_stop_a_resumed_run(tmp_path: Path) -> None:
    from layerlink.lab.run.resume import _circumstances

    assert _circumstances({"packages": ["torch"]})["torch"] is None


@pytest.mark.parametrize("mean", [None, "x", [0.5, 0.5, 0.5], [None], [float("nan")]])
def test_a_run_whose_normalisation_is_damaged_is_not_evaluated(mean: Any, tmp_path: Path) -> None:
    from layerlink.data import ImageSet, Views
    from layerlink.lab.run.reading.evaluation import as_the_run_saw
    from layerlink.lab.run.setup.images import Images

    images = ImageSet(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 0]), ("a",))

    @dataclasses.dataclass
    class Has:
        images: Images

    run = RunFolder(tmp_path)
    run.start("student: vgg7\n", {}, {"mean": mean, "std": [1.0]})
    setup: Any = Has(Images(images, images, images, Views(4, (0.0,), (1.0,)), {}))
    with pytest.raises(LayerlinkError, match=r"data\.json is damaged: mean must be 1 numbers"):
        as_the_run_saw(setup, run)


def test_a_home_folder_that_nobody_has_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"weights: there is no ~nobody-at-all/x"):
        load_weights(nn.Linear(1, 1), Path("~nobody-at-all/x"))
