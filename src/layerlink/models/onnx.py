"""An ONNX file as a model: it teaches by its outputs, run by onnxruntime (extra: onnx)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.inside import regular
from layerlink.optional import need
from layerlink.user_code import runs_a_model


class OnnxModel(nn.Module):
    """Runs an ONNX file on the CPU. It has no layers that could be linked, and nothing to train.

    In a recipe: ``teacher: {model: "layerlink.models.onnx:OnnxModel", arguments: {path: t.onnx}, weights: own}``.

    Args:
        path: of the file.
        output: the name of the output to give; empty for the first.

    Raises:
        UsageError: where there is no such file or output.
        LayerlinkError: where onnxruntime is missing or cannot read the file.
    """

    closed = "an ONNX file"  # its layers cannot be read
    digest: Tensor

    def __init__(self, path: str, output: str = "") -> None:
        super().__init__()
        runtime = need("onnxruntime", "onnx", "ONNX files")
        if not Path(path).is_file():
            raise UsageError(f"there is no file {path}")
        data = regular(Path(path)).read_bytes()
        try:
            self._session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise LayerlinkError(f"{path} is no model that onnxruntime reads: {error}") from error
        outputs = [it.name for it in self._session.get_outputs()]
        if output and output not in outputs:
            raise UsageError(f"{path} has no output {output!r}; it gives {', '.join(outputs)}")
        self._output = output or outputs[0]
        self._inputs = [it.name for it in self._session.get_inputs()]
        # What tells one file from another, in a store of what the model gave.
        self.register_buffer("digest", torch.tensor(list(hashlib.sha256(data).digest()), dtype=torch.uint8))

    @torch.no_grad()
    @runs_a_model
    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """The output for a batch.

        Args:
            inputs: in the file's order of inputs.
            named: by their names in the file.
        """
        given = {**dict(zip(self._inputs, inputs, strict=False)), **named}
        arrays: dict[str, Any] = {name: value.detach().cpu().contiguous().numpy() for name, value in given.items()}
        (found,) = self._session.run([self._output], arrays)
        first = next(iter(given.values()))
        return torch.from_numpy(found).to(first.device)
