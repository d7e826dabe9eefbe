"""OpenVINO's files: ``.xml`` with the operators, ``.bin`` beside it with the weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from layerlink.design.export.formats.job import Job, Opened, as_arrays, converting, thread_count
from layerlink.errors import LayerlinkError
from layerlink.files.inside import regular
from layerlink.optional import environment, need

_PLACE = ["layerlink", "facts"]
# When it is imported, and when it converts, it tells Intel so unless this is said. There is no variable for that alone.
_silent = partial(environment, "CI", "true")


def _openvino() -> Any:
    with _silent():
        return need("openvino", "openvino", "an OpenVINO file")


def write_openvino(job: Job, path: Path) -> None:
    """Write a model with a free first axis, in float32 or, by nncf, in int8."""
    with converting("OpenVINO"):
        openvino = _openvino()
        free = 1 if job.longest is None else 2
        shapes = [openvino.PartialShape([*[-1] * free, *it.shape[free:]]) for it in job.inputs]
        with _silent():
            model = openvino.convert_model(job.model, example_input=job.inputs, input=shapes)
        for port, name in zip(model.inputs, job.example, strict=True):
            port.get_tensor().set_names({name})
        if job.calibration is not None:
            nncf = need("nncf", "openvino", "OpenVINO's int8")
            names = list(job.example)
            batches = nncf.Dataset(list(job.calibration), lambda it: dict(zip(names, as_arrays(it), strict=True)))
            model = nncf.quantize(model, batches, subset_size=len(job.calibration))
        model.set_rt_info(job.facts, _PLACE)
        openvino.save_model(model, str(path), compress_to_fp16=False)


def read_openvino(path: Path) -> Opened:
    """An OpenVINO file as its runtime runs it on the CPU, in float32 where it is not int8.

    Raises:
        LayerlinkError: where openvino is missing or cannot read it.
    """
    try:
        with converting(str(path)):
            openvino = _openvino()
            core = openvino.Core()
            model = core.read_model(str(regular(path)))
            facts = str(model.get_rt_info(_PLACE).value) if model.has_rt_info(_PLACE) else ""
            how = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": thread_count()}
            compiled = core.compile_model(model, "CPU", how)
    except OSError as error:
        raise LayerlinkError(f"{path} cannot be read: {error}") from error
    request = compiled.create_infer_request()

    def call(*inputs: Tensor) -> Tensor:
        found = request.infer(as_arrays(inputs))
        return torch.from_numpy(found[compiled.output(0)].copy())

    return Opened(tuple(port.get_any_name() for port in model.inputs), facts, call)
