"""torch's own files of exported programs, ``.pt2``."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from layerlink.design.export.formats.job import Job, Opened, converting
from layerlink.design.export.formats.quantised import quantised, traced
from layerlink.errors import LayerlinkError
from layerlink.files.inside import regular
from layerlink.optional import need

FACTS = "layerlink.json"
_INT8 = "torchao.quantization.pt2e.quantizer.x86_inductor_quantizer"


def write_torch(job: Job, path: Path) -> None:
    """Write a program with a free first axis."""
    model = job.model
    with converting("torch.export"):
        if job.calibration is not None:
            tool = need(_INT8, "torchao", "int8")
            quantizer = tool.X86InductorQuantizer()
            quantizer.set_global(tool.get_default_x86_inductor_quantization_config())
            model = quantised(job, quantizer)
        torch.export.save(traced(model, job), path, extra_files={FACTS: job.facts})


def read_torch(path: Path) -> Opened:
    """A ``.pt2`` file as torch runs it, not compiled.

    Raises:
        LayerlinkError: where torch cannot read it.
    """
    extra = {FACTS: ""}
    try:
        with zipfile.ZipFile(regular(path)) as file:
            is_quantised = any(b"quantized_decomposed" in file.read(it) for it in file.namelist() if _is_graph(it))
        with converting(str(path)):
            if is_quantised:
                need("torchao.quantization.pt2e.quantize_pt2e", "torchao", "reading int8 programs")
            model = torch.export.load(regular(path), extra_files=extra).module()
    except LayerlinkError:
        raise
    except (zipfile.BadZipFile, RuntimeError, ValueError) as error:
        raise LayerlinkError(f"{path} is no program that torch reads: {error}") from error

    def call(*inputs: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = model(*inputs)
        return found

    return Opened(("images",), str(extra[FACTS]), call)


def _is_graph(name: str) -> bool:
    return name.endswith(".json") and "models/" in name
