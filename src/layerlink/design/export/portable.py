"""A student as it leaves the project: alone, in eval mode, on the CPU, without what only training needs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.data.preprocessing import Normalised, Preprocessing
from layerlink.design.export.folding import fold_batch_norms
from layerlink.errors import LayerlinkError
from layerlink.models.tiny_maps import TinyMapConv2d
from layerlink.taps.modes import set_mode
from layerlink.taps.observed import logits_in, output_keys
from layerlink.user_code import told


class Portable(nn.Module):
    """A model that takes its inputs in a fixed order and gives logits, a single tensor.

    Args:
        model: gives what ``output`` finds the logits in.
        names: of the inputs. One alone is given as it is; several by their names.
        output: as ``Observed`` has it.
        preprocessing: what to normalise by where images come as bytes; None: they come normalised.
    """

    def __init__(
        self, model: nn.Module, names: tuple[str, ...], output: str = "", preprocessing: Preprocessing | None = None
    ) -> None:
        super().__init__()
        self.model = model if preprocessing is None else Normalised(model, preprocessing)
        self._names, self._keys = names, output_keys(output)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits of a batch.

        Args:
            inputs: a tensor a name, with the batch first.
        """
        if len(self._names) == 1:
            return logits_in(self.model(*inputs), self._keys)
        return logits_in(self.model(**dict(zip(self._names, inputs, strict=True))), self._keys)


def portable(
    model: nn.Module, example: Mapping[str, Tensor], *, output: str = "", preprocessing: Preprocessing | None = None
) -> tuple[Portable, int]:
    """A copy of a model to be written into a file; the model itself is left as it is.

    Args:
        model: a student.
        example: a batch of inputs by name, as the file is to take them.
        output: the element that holds the logits, as ``Observed`` has it.
        preprocessing: see ``Portable``.

    Returns:
        It, and how many batch norms became part of the layer before them.

    Raises:
        LayerlinkError: where the model cannot be copied or does not run on the example.
    """
    try:
        own = copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    except Exception as error:
        raise LayerlinkError(f"the student cannot be copied, which an export begins with: {told(error)}") from error
    set_mode(own, training=False)
    for parameter in own.parameters():
        parameter.requires_grad_(False)
    for module in own.modules():
        if type(module) is TinyMapConv2d:
            module.__class__ = nn.Conv2d  # type: ignore[assignment]
    whole = Portable(own, tuple(example), output, preprocessing).eval()
    inputs = tuple(example.values())
    try:
        run_once(whole, inputs)
    except Exception as error:
        shapes = ", ".join(f"{name} {tuple(it.shape)}" for name, it in example.items())
        raise LayerlinkError(f"the student does not take {shapes}: {told(error)}") from error
    return whole, fold_batch_norms(whole, inputs)


def run_once(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    """What a model gives for inputs, without gradients."""
    with torch.no_grad():
        return model(*inputs)
