"""Exported files against the student, by routes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import layerlink as ll
from exported import finished_run
from layerlink.design.export import Exported, exporting
from layerlink.design.export.formats.job import Opened
from layerlink.design.export.formats.table import FORMATS
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.images import load_images
from versions import need_onnx_writer

SEEN = {"dtype": "float32", "shape": ["batch", 1, 32, 32], "name": "images"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def both(run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Exported]:
    """The run as ONNX files in float32 and in int8."""
    need_onnx_writer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "SECONDS", 0.0)
        return ll.export(run, "onnx", int8=True, most_loss=100, out=tmp_path_factory.mktemp("both") / "out")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "SECONDS", 0.0)
    monkeypatch.setattr(exporting, "BATCHES", (1, 2))


def student_of(run: Path) -> nn.Module:
    """The student from its file of weights alone."""
    model = ll.build_model("vgg7", num_classes=10, image_size=32, channels=1, width=0.05, batch_norm=True)
    model.load_state_dict(safetensors.torch.load_file(run / "student.safetensors"))
    return model.eval()


def digits(run: Path) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Test images of the size that the student takes and labels, and what the run says of its data."""
    images = load_images(load_recipe(str(run / "recipe.yaml")).recipe, torch.device("cpu"))
    scaled = F.interpolate(images.test.images.float(), size=(32, 32), mode="bilinear").round().to(torch.uint8)
    return scaled, images.test.labels, json.loads((run / "data.json").read_text())


def seen(raw: Tensor, data: dict[str, Any]) -> Tensor:
    return (raw.float() / 255 - data["mean"][0]) / data["std"][0]


def test_an_onnx_file_answers_like_the_student_in_every_batch_size(run: Path, both: list[Exported]) -> None:
    onnxruntime, onnx, found = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx"), both[0]
    raw, labels, data = digits(run)
    session = onnxruntime.InferenceSession(str(found.path), providers=["CPUExecutionProvider"])
    student, images = student_of(run), seen(raw, data)
    for count in (1, 3, 128):
        (answered,) = session.run(None, {"images": images[:count].numpy()})
        expected = student(images[:count]).detach().numpy()
        assert answered.shape == (count, 10)
        assert np.abs(answered - expected).max() < 1e-4 * np.abs(expected).max()
    with torch.no_grad():
        accuracy = 100 * float((student(images).argmax(1) == labels).double().mean())
    assert found.torch_score == pytest.approx(accuracy)
    assert found.file_score == pytest.approx(accuracy)
    assert found.agreement == 100
    assert found.images == len(labels)
    assert found.teacher_agreement == found.torch_teacher_agreement

    model = onnx.load(str(found.path))
    kinds = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in kinds
    facts = json.loads({it.key: it.value for it in model.metadata_props}["layerlink"])
    assert facts["classes"] == [str(n) for n in range(10)]
    assert facts["task"]["name"] == "classification"
    assert (facts["input"], facts["layerlink"], facts["int8"]) == (SEEN, ll.__version__, False)
    assert facts["preprocessing"]["mean"] == data["mean"]
    names = {it.name for it in model.graph.initializer}
    assert not any("adapter" in name or "parts" in name for name in names)
    assert sum(np.prod(it.dims) for it in model.graph.initializer) < 1.01 * sum(p.numel() for p in student.parameters())

    note = json.loads((found.path.parent / "export.json").read_text())
    row, _ = note["files"]
    assert (row["file"], row["test_accuracy"], row["bytes"]) == (
        "student.onnx",
        found.file_score,
        found.path.stat().st_size,
    )
    assert row["milliseconds"]["128"]["file"]["median"] > 0
    assert note["folded_batch_norms"] == sum(isinstance(it, nn.BatchNorm2d) for it in student.modules()) > 0


def test_a_file_with_preprocessing_inside_takes_bytes(run: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    need_onnx_writer()
    (found,) = ll.export(run, "onnx", preprocessing=True, out=tmp_path / "out")
    raw, _, data = digits(run)
    session = onnxruntime.InferenceSession(str(found.path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == "tensor(uint8)"
    (answered,) = session.run(None, {"images": raw[:50].numpy()})
    expected = student_of(run)(seen(raw[:50], data)).detach().numpy()
    assert np.abs(answered - expected).max() < 1e-4 * np.abs(expected).max()


def test_torchs_own_file_answers_like_the_student(run: Path, tmp_path: Path) -> None:
    (found,) = ll.export(run, "torch", out=tmp_path / "out")
    raw, _, data = digits(run)
    facts = {"layerlink.json": ""}
    model = torch.export.load(found.path, extra_files=facts).module()
    images, student = seen(raw, data), student_of(run)
    for count in (1, 3, 128):
        expected = student(images[:count]).detach()
        assert torch.allclose(model(images[:count]), expected, atol=1e-4 * float(expected.abs().max()))
    assert json.loads(facts["layerlink.json"])["classes"] == data["classes"]


def test_int8_is_smaller_agrees_and_its_loss_is_told(run: Path, both: list[Exported]) -> None:
    onnx, (whole, small) = pytest.importorskip("onnx"), both
    assert [it.path.name for it in (whole, small)] == ["student.onnx", "student-int8.onnx"]
    assert (whole.int8, small.int8) == (False, True)
    assert small.loss == pytest.approx(whole.torch_score - small.file_score)
    assert small.agreement is not None
    assert small.agreement > 80
    weights = [it for it in onnx.load(str(small.path)).graph.initializer if it.data_type == onnx.TensorProto.INT8]
    student = student_of(run)
    convolved = sum(it.weight.numel() for it in student.modules() if isinstance(it, nn.Conv2d))
    assert sum(np.prod(it.dims) for it in weights) >= convolved
    assert len(list(whole.path.parent.iterdir())) == 3


def test_int8_that_loses_too_much_leaves_nothing_behind(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_onnx_writer()
    before = sorted(it.name for it in run.iterdir())
    # Calibrated on black images alone every activation is cut: what that loses is no matter of luck.
    monkeypatch.setattr(
        "layerlink.design.export.subject.Subject.calibration", lambda _: [(torch.full((8, 1, 32, 32), -1.0),)]
    )
    with pytest.raises(ll.LayerlinkError, match=r"int8 of onnx loses \d+\.\d\d points.*Nothing was written") as told:
        ll.export(run, "onnx", int8=True, most_loss=0, out=tmp_path / "new/folder")
    assert told.value.exit_code == 1
    assert sorted(it.name for it in run.iterdir()) == before
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_export_left_goes_with_the_next(run: Path, tmp_path: Path) -> None:
    code = "import os, signal, sys; from pathlib import Path; from layerlink.design.export.folder import ExportFolder\n"
    code += "with ExportFolder(Path(sys.argv[1])).unfinished() as part:\n"
    code += "    (part / 'student.onnx').write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.suffix == ".part"
    ll.export(run, "torch", out=tmp_path / "out")
    assert [it.name for it in tmp_path.iterdir()] == ["out"]


def test_a_file_that_answers_otherwise_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = FORMATS["torch"]

    def wrong(path: Path) -> Opened:
        opened = kind.read(path)
        return replace(opened, call=lambda images: 1.02 * opened.call(images))  # the same classes

    def broken(path: Path) -> Opened:
        return replace(kind.read(path), call=lambda _: torch.ones(2) @ torch.ones(3))

    monkeypatch.setitem(FORMATS, "torch", replace(kind, read=broken))
    with pytest.raises(ll.LayerlinkError, match="torch: the file was written, and its runtime cannot run it here: Run"):
        ll.export(run, "torch", out=tmp_path / "out")
    monkeypatch.setitem(FORMATS, "torch", replace(kind, read=wrong))
    with pytest.raises(ll.LayerlinkError, match="torch: the file computes something else than the student"):
        ll.export(run, "torch", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_is_exported_again_but_a_file_of_the_users_is_not_replaced(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ll.export(run, "torch", out=out)
    first = (out / "student.pt2").stat().st_mtime_ns
    ll.export(run, "torch", out=out)
    assert (out / "student.pt2").stat().st_mtime_ns > first
    (out / "student.pt2").write_bytes(b"mine")
    with pytest.raises(ll.UsageError, match="changed since export wrote it"):
        ll.export(run, "torch", out=out)
    assert (out / "student.pt2").read_bytes() == b"mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other/student.pt2").write_bytes(b"mine")
    with pytest.raises(ll.UsageError, match="export did not write it"):
        ll.export(run, "torch", out=tmp_path / "other")


def test_a_wrong_format_is_answered_with_the_closest(run: Path) -> None:
    with pytest.raises(ll.UsageError, match=r"unknown format 'onx'. Did you mean onnx\?"):
        ll.export(run, "onx")
    with pytest.raises(ll.UsageError, match="no finished run"):
        ll.export(run.parent, "onnx")


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_missing_package_is_named_with_its_extra_and_nothing_is_left(
    name: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, extra = {
        "onnx": ("onnxscript", "onnx"),
        "torch": ("torchao", "torchao"),
        "openvino": ("openvino", "openvino"),
        "executorch": ("executorch", "executorch"),
    }[name]
    if name == "onnx":
        pytest.importorskip("onnx")  # which is asked for first
    for module in [it for it in sys.modules if it.partition(".")[0] == top]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, top, None)
    with pytest.raises(ll.LayerlinkError, match=rf"needs the package '{top}'.*pip install 'layerlink\[{extra}\]'"):
        ll.export(run, name, int8=name == "torch")
    assert not (run / "export").exists()


def test_a_student_for_one_size_is_not_exported_for_another(run: Path) -> None:
    with pytest.raises(ll.UsageError, match=r"--size 64: the student's weights are those of one size: .*32x32"):
        ll.export(run, "torch", size=64)


def test_a_student_that_takes_other_sizes_is_exported_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerlink.design.export.subject.TEST_EXAMPLES", 100)
    small = "data: {name: digits, image_size: 32, train_images: 64, validation: 32}"
    run = finished_run(tmp_path, f"{small}\nstudent: {{model: resnet8}}\ntraining: {{epochs: 1}}\nprecision: float32\n")
    (found,) = ll.export(run, "torch", size=64, out=tmp_path / "out")
    assert found.path.name == "student-64.pt2"
    assert found.agreement == 100
    assert ll_input(found.path)["shape"] == ["batch", 1, 64, 64]


def ll_input(path: Path) -> dict[str, Any]:
    facts = {"layerlink.json": ""}
    torch.export.load(path, extra_files=facts)
    return json.loads(facts["layerlink.json"])["input"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def published(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with the published weights and their normalisation in it."""
    run = finished_run(
        tmp_path_factory.mktemp("published"),
        f"""
data: {{name: cifar10, root: {shared / "data/cifar10"}, train_images: 256, validation: 64}}
student: {{model: resnet20}}
training: {{epochs: 1, batch_size: 128}}
precision: float32
""",
    )
    weights = safetensors.torch.load_file(shared / "models/cifar10_resnet20.safetensors")
    RunFolder(run).write_weights(run / "student.safetensors", weights)
    data = json.loads((run / "data.json").read_text())
    data |= {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    (run / "data.json").write_text(json.dumps(data))
    return run


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_real_network_keeps_its_accuracy(name: str, published: Path) -> None:
    for package in {
        "onnx": ("onnxscript",),
        "torch": ("torchao",),
        "openvino": ("openvino", "nncf"),
        "executorch": ("executorch",),
    }[name]:
        pytest.importorskip(package)
    whole, small = ll.export(published, name, int8=True)
    assert whole.torch_score == pytest.approx(91.7, abs=1.5)  # as published; 0.6 is a deviation of 2,000 images
    assert (whole.file_score, whole.agreement) == (whole.torch_score, 100)
    assert whole.largest_difference < 1e-4 * whole.largest_output
    assert abs(small.loss) < 1
    assert small.agreement is not None
    assert small.agreement > 97
    assert small.bytes < 0.65 * whole.bytes


@pytest.mark.parametrize(
    ("task", "outputs", "maps", "more"),
    [
        ("multi-label", 4, False, ""),
        ("segmentation", 2, True, ", arguments: {ignore: 255}"),
        ("regression", 1, False, ""),
    ],
)
def test_other_tasks_are_compared_by_their_own_score(
    task: str, outputs: int, maps: bool, more: str, tmp_path: Path
) -> None:
    arguments = f"{{outputs: {outputs}, width: 4, maps: {str(maps).lower()}}}"
    run = finished_run(
        tmp_path,
        f"""
data: {{name: "other_tasks:of", arguments: {{task: {task}}}, image_size: 8, validation: 20}}
task: {{name: {task}{more}}}
student: {{model: "other_tasks:net", arguments: {arguments}}}
training: {{epochs: 2, batch_size: 20, lr: 0.05}}
precision: float32
""",
    )
    result = json.loads((run / "result.json").read_text())
    (found,) = ll.export(run, "torch")
    assert found.score.name == result["score"]["name"]
    assert found.torch_score == pytest.approx(result[f"test_{found.score.name}"], rel=1e-4)
    assert found.file_score == pytest.approx(found.torch_score, rel=1e-4)
    assert (found.agreement is None) == (task == "regression")
