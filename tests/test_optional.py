"""Packages that are imported on use: nobody is told of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from layerlink.errors import LayerlinkError
from layerlink.optional import environment, need

MODEL = """
import numpy, onnx
from onnx import TensorProto, helper
from layerlink.optional import need

row = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [row[0]], [row[1]])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
session = need("onnxruntime", "onnx", "a test").InferenceSession(model.SerializeToString())
print(session.run(None, {"x": numpy.array([2.0], numpy.float32)})[0][0])
"""


def run(code: str, home: Path, **variables: str) -> str:
    # In what it takes for a test, onnxruntime says nothing of itself: this process must not look like one.
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env={**kept, "HOME": str(home), **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_onnx_model_leaves_no_trace_of_its_use(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx brings it")
    assert run(MODEL, tmp_path) == "-2.0"
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("package", "variable", "silent"),
    [
        ("onnxruntime", "ORT_DISABLE_TELEMETRY", "1"),
        ("mlflow", "MLFLOW_DISABLE_TELEMETRY", "true"),
        ("nncf", "NNCF_CI", "1"),
        ("wandb", "WANDB_ERROR_REPORTING", "false"),
        ("transformers", "HF_HUB_DISABLE_TELEMETRY", "1"),
    ],
)
def test_a_package_is_silent_before_it_is_imported_unless_its_user_has_set_it(
    package: str, variable: str, silent: str, tmp_path: Path
) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(f"import os\nSAYS = os.environ['{variable}']\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from layerlink.optional import need\n"
    code += f"print(need({package!r}, 'x', 'a test').SAYS)"
    assert run(code, tmp_path) == silent
    assert run(code, tmp_path, **{variable: "own"}) == "own"


def test_a_package_that_is_not_there_is_named_with_its_extra() -> None:
    with pytest.raises(LayerlinkError, match=r"^a test needs the package 'not_there', .*pip install 'layerlink\[x\]'$"):
        need("not_there.at.all", "x", "a test")


def test_a_variable_is_another_meanwhile_and_as_it_was_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAYERLINK_TEST", raising=False)
    with environment("LAYERLINK_TEST", "1"):
        with pytest.raises(KeyError, match="2"), environment("LAYERLINK_TEST", "2"):
            raise KeyError(os.environ["LAYERLINK_TEST"])
        assert os.environ["LAYERLINK_TEST"] == "1"
    assert "LAYERLINK_TEST" not in os.environ
