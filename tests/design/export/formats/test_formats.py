"""What a format cannot hold, in a sentence; several inputs by name."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layerlink.design.export.formats.job import Job
from layerlink.design.export.formats.onnx import read_onnx, write_onnx
from layerlink.design.export.formats.table import FORMATS
from layerlink.design.export.formats.torch_program import write_torch
from layerlink.design.export.portable import portable
from layerlink.errors import LayerlinkError
from versions import need_onnx_writer


class Looks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Rare(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.i1(x)


class Masked(nn.Module):
    """Words and which of them count."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(20, 6), nn.Linear(6, 3)

    def forward(self, *, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        counted = (self.words(ids) * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return {"logits": self.head(counted), "other": counted}


def job(model: nn.Module, **example: Tensor) -> Job:
    return Job(portable(model, example)[0], example, "{}")


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_a_model_that_looks_at_values_is_told_as_one(name: str, tmp_path: Path) -> None:
    need_onnx_writer()
    with pytest.raises(LayerlinkError, match="the student decides by the values of tensors"):
        FORMATS[name].write(job(Looks(), images=torch.rand(2, 3)), tmp_path / "file")


def test_a_torch_that_is_too_old_for_onnx_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_onnx_writer()
    monkeypatch.setattr(torch, "__version__", "2.6.0+cu124")
    with pytest.raises(LayerlinkError, match=r"ONNX files need torch 2\.7 or newer; this is 2\.6\.0\+cu124\. pip"):
        write_onnx(job(Looks(), images=torch.rand(2, 3)), tmp_path / "file.onnx")


def test_an_operator_that_the_format_lacks_is_named(tmp_path: Path) -> None:
    need_onnx_writer()
    with pytest.raises(
        LayerlinkError, match=r"ONNX: the format has no operator for (special|bessel)_i1, which the student uses"
    ):
        write_onnx(job(Rare(), images=torch.rand(2, 3)), tmp_path / "file.onnx")
    write_torch(job(Rare(), images=torch.rand(2, 3)), tmp_path / "file.pt2")  # which has it


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_several_inputs_come_in_their_order_and_under_their_names(name: str, tmp_path: Path) -> None:
    need_onnx_writer()
    model = Masked().eval()
    example = {"ids": torch.randint(0, 20, (2, 7)), "mask": torch.ones(2, 7)}
    path = tmp_path / f"file{FORMATS[name].ending}"
    FORMATS[name].write(job(model, **example), path)
    opened = FORMATS[name].read(path)
    if name == "onnx":
        assert opened.names == ("ids", "mask")
    ids, mask = torch.randint(0, 20, (5, 7)), (torch.rand(5, 7) > 0.3).float() + 1e-3
    assert torch.allclose(opened.call(ids, mask), model(ids=ids, mask=mask)["logits"].detach(), atol=1e-5)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    for name, kind in FORMATS.items():
        pytest.importorskip({"torch": "torch", "onnx": "onnxruntime"}.get(name, name))
        if name == "executorch":
            continue  # its runtime checks little of what it is given
        path = tmp_path / f"file{kind.ending}"
        path.write_bytes(b"nothing at all")
        with pytest.raises(LayerlinkError, match=str(path)):
            kind.read(path)


def test_a_model_that_is_not_run_on_its_example_is_told() -> None:
    with pytest.raises(LayerlinkError, match=r"the student does not take images \(2, 3\)"):
        portable(nn.Linear(4, 1), {"images": torch.rand(2, 3)})


def test_a_bad_onnx_file_names_the_reader(tmp_path: Path) -> None:
    (tmp_path / "file.onnx").write_bytes(b"")
    with pytest.raises(LayerlinkError, match="no model that onnxruntime reads"):
        read_onnx(tmp_path / "file.onnx")


def test_int8_that_fails_leaves_nothing_where_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_onnx_writer()
    shapes = pytest.importorskip("onnxruntime.tools.symbolic_shape_infer")
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    # What onnxruntime does where it cannot find all shapes: it saves what it has into the current folder, and raises.
    monkeypatch.setattr(shapes.SymbolicShapeInference, "_infer_impl", lambda self: setattr(self, "run_", False))
    images = torch.rand(2, 3)
    small = replace(job(nn.Linear(3, 2), images=images), calibration=[(images,)])
    with pytest.raises(LayerlinkError, match="ONNX: Exception: Incomplete symbolic shape inference"):
        write_onnx(small, Path("../there/file.onnx"))
    assert Path.cwd() == here
    assert list(here.iterdir()) == []
    assert [it.name for it in there.iterdir()] == ["file.onnx"]  # float32, which the caller's folder takes away


TRACE = """
from dataclasses import replace
from pathlib import Path
import sys, torch
from layerlink.design.export.formats.table import FORMATS
from layerlink.design.export.formats.job import Job
from layerlink.design.export.portable import portable

images = torch.rand(8, 6)
model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
kind, path = FORMATS[sys.argv[1]], Path(sys.argv[2])
float32 = Job(portable(model, {"images": images})[0], {"images": images}, "{}")
for job in (float32, replace(float32, calibration=[(images,)])):
    kind.write(job, path)
    print(float((kind.read(path).call(images) - model(images)).detach().abs().max()) < 0.1)
"""


@pytest.mark.long
@pytest.mark.parametrize("name", FORMATS)
def test_no_format_leaves_a_trace_of_its_use_at_home(name: str, tmp_path: Path) -> None:
    for package in {"onnx": ["onnxruntime", "onnxscript"], "openvino": ["openvino", "nncf"]}.get(name, [name]):
        pytest.importorskip(package)
    if name == "torch":
        pytest.importorskip("torchao")
    home, file = tmp_path / "home", tmp_path / f"file{FORMATS[name].ending}"
    home.mkdir()
    # Some of them say nothing of themselves in a test: this process must not look like one.
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")}
    done = subprocess.run(
        [sys.executable, "-c", TRACE, name, str(file)],
        env={**kept, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True"]
    assert list(home.rglob("*")) == []
