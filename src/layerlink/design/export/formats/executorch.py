"""ExecuTorch's files for phones and boards, ``.pte``, for the XNNPACK backend; what is known of them lies beside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from layerlink.design.export.formats.job import MOST_BATCH, Job, Opened, converting
from layerlink.design.export.formats.quantised import quantised, traced
from layerlink.errors import LayerlinkError
from layerlink.files.inside import read_text, regular
from layerlink.optional import need

# Of fewer than 17 images torch's convolution on the CPU takes another way, and what is traced then holds for those
# alone.
_TRACED = 32
_FOR = "executorch", "an ExecuTorch file"
_PARTITIONER = "executorch.backends.xnnpack.partition.xnnpack_partitioner"
_QUANTIZER = "executorch.backends.xnnpack.quantizer.xnnpack_quantizer"


def write_executorch(job: Job, path: Path) -> None:
    """Write a program for up to 128 images at once: its memory is planned beforehand."""
    more = -(-_TRACED // len(job.inputs[0]))
    job = replace(job, example={name: torch.cat([it] * more)[:_TRACED] for name, it in job.example.items()})
    model = job.model
    with converting("ExecuTorch"):
        exir, partition = need("executorch.exir", *_FOR), need(_PARTITIONER, *_FOR)
        if job.calibration is not None:
            tool = need(_QUANTIZER, "executorch", "ExecuTorch's int8")
            quantizer = tool.XNNPACKQuantizer()
            how = tool.get_symmetric_quantization_config(is_per_channel=True)
            if job.longest is None:
                quantizer.set_global(how)
            else:  # of a transformer what multiplies by weights; sums of positions are whole numbers, and stay so
                quantizer.set_operator_type(torch.ops.aten.linear.default, how)
                quantizer.transform_for_annotation = _same
            model = quantised(job, quantizer, MOST_BATCH)
        program = exir.to_edge_transform_and_lower(
            traced(model, job, MOST_BATCH), partitioner=[partition.XnnpackPartitioner()]
        ).to_executorch()
        path.write_bytes(program.buffer)
    beside(path).write_text(job.facts + "\n", encoding="utf-8")


def beside(path: Path) -> Path:
    """The file with what is known of a program."""
    return path.with_name(f"{path.name}.json")


def read_executorch(path: Path) -> Opened:
    """A ``.pte`` file as ExecuTorch runs it here.

    Raises:
        LayerlinkError: where executorch is missing or cannot read it.
    """
    try:
        data = regular(path).read_bytes()
        with converting(str(path)), _silent():
            runtime = need("executorch.runtime", *_FOR)
            program = runtime.Runtime.get().load_program(data)
            method = program.load_method("forward")
    except OSError as error:
        raise LayerlinkError(f"{path} cannot be read: {error}") from error
    facts = read_text(beside(path), path.parent).strip() if beside(path).exists() else ""

    alive = data, program  # compiled code points into both, and keeps neither

    def call(*inputs: Tensor, _alive: object = alive) -> Tensor:
        parts = zip(*(torch.split(it.contiguous(), MOST_BATCH) for it in inputs), strict=True)
        return torch.cat([method.execute(list(part))[0].clone() for part in parts])

    return Opened(("images",), facts, call)


def _same(model: nn.Module) -> nn.Module:
    return model


@contextmanager
def _silent() -> Iterator[None]:
    """Keep back what compiled code writes past Python."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
