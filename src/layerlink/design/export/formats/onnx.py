"""ONNX files: written by torch's exporter, run and quantised by onnxruntime."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from layerlink.design.export.formats.job import Job, Opened, as_arrays, converting, thread_count
from layerlink.errors import LayerlinkError
from layerlink.files.inside import regular
from layerlink.optional import need, torch_release

OUTPUT = "logits"


def write_onnx(job: Job, path: Path) -> None:
    """Write an ONNX file whose first axis is free; weights of more than 2 GB lie beside it."""
    with converting("ONNX"):
        for module in ("onnx", "onnxscript", "onnxruntime"):
            need(module, "onnx", "writing ONNX files")
        if torch_release() < (2, 7):
            raise LayerlinkError(
                f"ONNX files need torch 2.7 or newer; this is {torch.__version__}. pip install -U torch"
            )
        program = torch.onnx.export(
            job.model,
            job.inputs,
            dynamo=True,
            dynamic_shapes=(job.free_axes(),),
            input_names=list(job.example),
            output_names=[OUTPUT],
            verbose=False,
        )
        if program is None:  # pragma: no cover - only without dynamo
            raise LayerlinkError("torch wrote no program")
        program.model.metadata_props.update({"layerlink": job.facts})
        program.save(path)
        if job.calibration is not None:
            _quantise(job, job.calibration, path)


def _quantise(job: Job, calibration: Sequence[tuple[Tensor, ...]], path: Path) -> None:
    """Weights int8 a channel, activations uint8, as pairs of QuantizeLinear and DequantizeLinear."""
    onnx, tool = need("onnx", "onnx", "int8"), need("onnxruntime.quantization", "onnx", "int8")
    shapes = need("onnxruntime.quantization.shape_inference", "onnx", "int8")
    names = list(job.example)

    class Batches(tool.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.left: Iterator[dict[str, Any]] = (
                dict(zip(names, as_arrays(batch), strict=True)) for batch in calibration
            )

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

    path, texts = path.absolute(), job.longest is not None
    with _scratch(path.parent) as scratch:
        ready, done = scratch / "ready.onnx", scratch / "done.onnx"
        # Of a free length the sizes inside are not found by its rules for symbols, and are not needed.
        shapes.quant_pre_process(str(path), str(ready), skip_symbolic_shape=texts)
        tool.quantize_static(
            str(ready),
            str(done),
            Batches(),
            quant_format=tool.QuantFormat.QDQ,
            activation_type=tool.QuantType.QUInt8,
            weight_type=tool.QuantType.QInt8,
            per_channel=True,
            reduce_range=sums_overflow(),
            # Of a transformer what multiplies by weights, and tables of embeddings; attention, norms and softmax stay.
            op_types_to_quantize=["MatMul", "Gemm", "Gather"] if texts else None,
            extra_options={"MatMulConstBOnly": True} if texts else {},
        )
        model = onnx.load(str(done))
    onnx.helper.set_model_props(model, {"layerlink": job.facts})
    onnx.save(model, str(path))


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """A folder to work in, gone afterwards: where onnxruntime fails it leaves files in the current folder."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def sums_overflow(cpu: str | None = None) -> bool:
    """Whether this processor adds pairs of int8 products in 16 bits, so that weights must do with 7 bits.

    Those of x86 without VNNI do.

    >>> sums_overflow("flags : avx2 avx512f"), sums_overflow("flags : avx2 avx512_vnni")
    (True, False)
    """
    if cpu is None:
        facts = Path("/proc/cpuinfo")
        if platform.machine() not in ("x86_64", "AMD64") or not facts.exists():
            return platform.machine() in ("x86_64", "AMD64")
        cpu = facts.read_text(errors="replace")
    return not any(flag in cpu for flag in ("avx512_vnni", "avx_vnni"))


def read_onnx(path: Path) -> Opened:
    """An ONNX file as onnxruntime runs it, on the CPU.

    Raises:
        LayerlinkError: where onnxruntime is missing or cannot read it.
    """
    runtime = need("onnxruntime", "onnx", "an ONNX file")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = thread_count(), 3
    try:
        session = runtime.InferenceSession(str(regular(path)), options, providers=["CPUExecutionProvider"])
    except OSError:
        raise
    except Exception as error:
        raise LayerlinkError(f"{path} is no model that onnxruntime reads: {error}") from error
    names = tuple(it.name for it in session.get_inputs())

    def call(*inputs: Tensor) -> Tensor:
        (found,) = session.run([session.get_outputs()[0].name], dict(zip(names, as_arrays(inputs), strict=True)))
        return torch.from_numpy(found)

    return Opened(names, session.get_modelmeta().custom_metadata_map.get("layerlink", ""), call)
