"""A teacher that is an ONNX file: it teaches by its outputs, run by onnxruntime (extra: onnx)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.errors import LayerlinkError, UsageError
from layerlink.optional import need
from layerlink.taps import OUTPUT, Activations, Tap


class OnnxTeacher:
    """Runs an ONNX model on the CPU and gives one of its outputs as the logits.

    Args:
        path: of the file.
        output: the name of the output to take; empty for the first.

    Raises:
        UsageError: where there is no such file or output.
        LayerlinkError: where onnxruntime is missing or cannot read the file.
    """

    def __init__(self, path: str | Path, output: str = "") -> None:
        runtime = need("onnxruntime", "onnx", "ONNX teachers")
        if not Path(path).is_file():
            raise UsageError(f"there is no file {path}")
        try:
            self._session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:
            raise LayerlinkError(f"{path} is no model that onnxruntime reads: {error}") from error
        outputs = [it.name for it in self._session.get_outputs()]
        if output and output not in outputs:
            raise UsageError(f"{path} has no output {output!r}; it gives {', '.join(outputs)}")
        self._output = output or outputs[0]
        self._inputs = [it.name for it in self._session.get_inputs()]

    def models(self) -> Iterable[nn.Module]:
        """None: it is no module."""
        return ()

    @torch.no_grad()
    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """What the file gives for a batch.

        Args:
            inputs: a tensor, a tuple (in the file's order of inputs) or a mapping (by their names).
            wanted: the output; layers cannot be read.
            indices: not used.
        """
        given = inputs if isinstance(inputs, dict) else dict(zip(self._inputs, _listed(inputs), strict=False))
        first = next(value for value in given.values() if isinstance(value, Tensor))
        arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in given.items()}
        (logits,) = self._session.run([self._output], arrays)
        found = Activations(torch.from_numpy(logits).to(first.device))
        for tap in wanted:
            if tap != OUTPUT:
                found.problems[tap] = (
                    f"the teacher is an ONNX file, which teaches by its outputs: layer {str(tap)!r} cannot be read. "
                    "Link outputs (@output), or pass the module that the file was made of"
                )
        return found


def _listed(inputs: Any) -> tuple[Any, ...]:
    return inputs if isinstance(inputs, tuple) else (inputs,)
