"""Teachers that are no plain modules: scripted, traced, exported, quantised, an ONNX file."""

from __future__ import annotations

import copy
import struct
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import layerlink as ll
from layerlink.errors import LayerlinkError, ProblemsError, UsageError
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.reading.verification import verify_run
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.run.training import train
from layerlink.models.onnx import OnnxModel

X, Y = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def soft(teacher: object, student: nn.Module) -> float:
    return float(ll.Distiller(teacher, student, soft=ll.Soft())(X, Y).terms["soft"].detach())


@pytest.mark.parametrize("kind", ["script", "trace", "export"])
def test_it_teaches_by_its_outputs_and_says_why_not_by_its_layers(kind: str) -> None:
    torch.manual_seed(0)
    teacher, student = net().eval(), small()
    expected = soft(copy.deepcopy(teacher), student)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is on its way out, and people have it
        made = {
            "script": lambda: torch.jit.script(teacher),
            "trace": lambda: torch.jit.trace(teacher, X),
            "export": lambda: torch.export.export(teacher, (X,)).module(),
        }[kind]()
    assert soft(made, student) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ProblemsError) as caught:
        ll.Distiller(made, student, links=["0 : mse"])(X, Y)
    assert "it teaches by its outputs, and layers cannot be read. Link outputs (@output)" in str(caught.value)
    losses = ll.Distiller(made, student, links=["@output : kd"])(X, Y)
    assert losses.total.requires_grad


def test_a_teacher_traced_by_fx_keeps_its_layers() -> None:
    torch.manual_seed(0)
    teacher, student = net().eval(), small()
    expected = ll.Distiller(copy.deepcopy(teacher), student, links=["0 : mse"])(X, Y).total
    found = ll.Distiller(torch.fx.symbolic_trace(teacher), student, links=["0 : mse"])(X, Y).total
    torch.testing.assert_close(found, expected)


def test_a_quantised_teacher_teaches() -> None:
    torch.manual_seed(0)

    class Quantised(nn.Module):
        """Weights of eight bits in a buffer, without a single parameter."""

        def __init__(self, weight: Tensor) -> None:
            super().__init__()
            self.register_buffer("scale", weight.abs().amax() / 127)
            self.register_buffer("weight", (weight / self.scale).round().to(torch.int8))

        def forward(self, x: Tensor) -> Tensor:
            return x @ (self.weight.float() * self.scale).T

    plain, student = nn.Linear(6, 3, bias=False), small()
    assert soft(Quantised(plain.weight.detach()), student) == pytest.approx(soft(plain, student), rel=0.1)


def varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def field(number: int, value: bytes | str | int) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def value_info(name: str, columns: int) -> bytes:
    shape = field(1, field(2, "N")) + field(1, field(1, columns))
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def onnx_file(path: Path, weight: Tensor) -> Path:
    """``x @ weight`` as an ONNX model, written by hand."""
    rows, columns = weight.shape
    values = struct.pack(f"<{weight.numel()}f", *weight.flatten().tolist())
    tensor = field(1, rows) + field(1, columns) + field(2, 1) + field(8, "weight") + field(9, values)
    node = field(1, "x") + field(1, "weight") + field(2, "scores") + field(4, "MatMul")
    graph = field(1, node) + field(2, "g") + field(5, tensor)
    graph += field(11, value_info("x", rows)) + field(12, value_info("scores", columns))
    path.write_bytes(field(1, 8) + field(8, field(1, "") + field(2, 13)) + field(7, graph))
    return path


def test_an_onnx_file_teaches_by_its_outputs(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx brings it")
    torch.manual_seed(0)
    plain, student = nn.Linear(6, 3, bias=False), small()
    expected = soft(plain, student)
    teacher = OnnxModel(str(onnx_file(tmp_path / "t.onnx", plain.weight.detach().T)))
    assert soft(teacher, student) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ProblemsError, match="the teacher is an ONNX file: it teaches by its outputs"):
        ll.Distiller(teacher, student, links=["0 : mse"])(X, Y)
    with pytest.raises(UsageError, match="has no output 'logits'; it gives scores"):
        OnnxModel(str(tmp_path / "t.onnx"), output="logits")
    with pytest.raises(UsageError, match="there is no file"):
        OnnxModel(str(tmp_path / "no.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(LayerlinkError, match="is no model that onnxruntime reads"):
        OnnxModel(str(tmp_path / "bad.onnx"))


def test_foreign_files_teach_in_a_recipe(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx brings it")
    torch.manual_seed(0)
    plain = nn.Linear(64, 10, bias=False)
    flat = nn.Sequential(nn.Flatten(), plain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(flat).save(tmp_path / "t.ts")
    onnx_file(tmp_path / "t.onnx", plain.weight.detach().T)
    results = {}
    for name, teacher in (
        ("plain", '{model: "test_recipe_teachers:never", weights: own}'),
        ("script", f'{{model: "torch.jit:load", arguments: {{f: {tmp_path / "t.ts"}}}, weights: own}}'),
        (
            "onnx",
            f'{{model: "peoples_models:onnx_of_images", arguments: {{path: {tmp_path / "t.onnx"}}}, weights: own}}',
        ),
    ):
        file = tmp_path / f"{name}.yaml"
        file.write_text(
            "data: {name: digits, image_size: 8, train_images: 100}\nprecision: float32\n"
            'student: {model: "peoples_models:linear"}\nsoft: {temperature: 2}\n'
            f"training: {{epochs: 1, batch_size: 50}}\nteacher: {teacher}\n"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            setup = set_up(load_recipe(str(file)), teacher=flat if name == "plain" else None)
            results[name] = train(setup, RunFolder(tmp_path / name))
            if name != "plain":
                assert verify_run(RunFolder(tmp_path / name)).holds
    for name in ("script", "onnx"):
        assert results[name]["first_losses"] == pytest.approx(results["plain"]["first_losses"], rel=1e-5)
        assert results[name]["teacher_test_accuracy"] == results["plain"]["teacher_test_accuracy"]
