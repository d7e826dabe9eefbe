"""What tests leave to newer releases of torch than the oldest that layerlink runs with."""

from __future__ import annotations

import pytest

from layerlink.optional import torch_release

whole_modules = pytest.mark.skipif(torch_release() < (2, 9), reason="older ones cannot guard a Distiller's properties")
SHARDS = torch_release() >= (2, 9)
sharded = pytest.mark.skipif(not SHARDS, reason="older ones give wrong gradients by fully_shard on a CPU, or none")


def need_onnx_writer() -> None:
    """Skip a test where no ONNX file can be written."""
    for package in ("onnxruntime", "onnx", "onnxscript"):
        pytest.importorskip(package)
    if torch_release() < (2, 7):
        pytest.skip("torch before 2.7 writes no ONNX with today's onnxscript")
