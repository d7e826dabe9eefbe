"""The kinds of files by name."""

from __future__ import annotations

from layerlink.design.export.formats.executorch import read_executorch, write_executorch
from layerlink.design.export.formats.job import Format
from layerlink.design.export.formats.onnx import read_onnx, write_onnx
from layerlink.design.export.formats.openvino import read_openvino, write_openvino
from layerlink.design.export.formats.torch_program import read_torch, write_torch
from layerlink.errors import UsageError, unknown_name

FORMATS = {
    "onnx": Format(".onnx", write_onnx, read_onnx),
    "torch": Format(
        *(".pt2", write_torch, read_torch),
        note="int8 in a .pt2 file is small, and fast once torch.compile has made kernels of it; here it ran without",
        may_hold_code=True,
    ),
    "openvino": Format(".xml", write_openvino, read_openvino),
    "executorch": Format(".pte", write_executorch, read_executorch),
}


def format_named(name: str) -> Format:
    """The kind of file.

    Raises:
        UsageError: where there is none of that name; it tells the closest.
    """
    if name not in FORMATS:
        raise UsageError(f"--to: {unknown_name('format', name, FORMATS)} All of them: {', '.join(FORMATS)}")
    return FORMATS[name]
