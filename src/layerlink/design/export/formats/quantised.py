"""int8 by torchao: a traced model, observed on batches, then with its weights in 8 bits."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from layerlink.design.export.formats.job import Job
from layerlink.optional import need


def traced(model: nn.Module, job: Job, most: int | None = None) -> ExportedProgram:
    """The model as operators, with the job's free axes.

    Args:
        model: the job's, or what became of it.
        job: gives the inputs.
        most: the largest batch; None: any.
    """
    each: Any = job.free_axes(most)
    # What was traced before takes its inputs one by one, and no longer as many as there are.
    shapes = (each,) if model is job.model else each
    # Not strict, as is the default of torch 2.11: 2.6 is otherwise, and then understands less of a model's Python.
    return torch.export.export(model, job.inputs, dynamic_shapes=shapes, strict=False)


def quantised(job: Job, quantizer: Any, most: int | None = None) -> nn.Module:
    """The job's model in int8, as ``quantizer`` says; it takes the same inputs.

    Args:
        job: with its calibration.
        quantizer: of the backend that the file is for.
        most: as ``traced`` has it.
    """
    tool = need("torchao.quantization.pt2e.quantize_pt2e", "torchao", "int8")
    prepared = tool.prepare_pt2e(traced(job.model, job, most).module(), quantizer)
    with torch.no_grad():
        for batch in job.calibration or ():
            prepared(*batch)
    model: nn.Module = tool.convert_pt2e(prepared)
    _drop_unused(model)
    return model


def _drop_unused(model: Any) -> None:
    """Remove the float weights, which stay beside those of 8 bits and would be written with them."""
    used = {node.target for node in model.graph.nodes if node.op == "get_attr"}
    for name in [name for name, _ in (*model.named_parameters(), *model.named_buffers()) if name not in used]:
        parent, _, leaf = name.rpartition(".")
        delattr(model.get_submodule(parent), leaf)
