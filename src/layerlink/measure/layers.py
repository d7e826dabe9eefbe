"""The layers of a model, with the shapes that they give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from layerlink.measure.flops import count_parameters
from layerlink.taps.modes import evaluating, untouched
from layerlink.taps.modules import call_model


@dataclass(frozen=True)
class Layer:
    """What can be tapped.

    Args:
        path: the module's path.
        kind: its class.
        shapes: of its output, one text a call; "dict[...]" and the like where it is no tensor.
        parameters: of the module and all below it.
    """

    path: str
    kind: str
    shapes: tuple[str, ...]
    parameters: int

    def words(self) -> tuple[str, str, str, str]:
        """As a row of a table."""
        if len(self.shapes) == 1:
            shown = self.shapes[0]
        else:
            shown = "   ".join(f"{self.path}#{call} {shape}" for call, shape in enumerate(self.shapes))
        return self.path, self.kind, shown or "does not run", f"{self.parameters:,}"


def list_layers(model: nn.Module, inputs: Any) -> list[Layer]:
    """Every module of ``model`` that runs on ``inputs``, in order of its first output's place in the tree.

    Args:
        model: any module; left as it was.
        inputs: a tensor, a tuple (positional) or a mapping (keyword arguments).
    """
    shapes: dict[str, list[str]] = {name: [] for name, _ in model.named_modules() if name}
    handles = [
        module.register_forward_hook(
            lambda _module, _args, output, name=name: shapes[name].append(describe_value(output))
        )
        for name, module in model.named_modules()
        if name
    ]
    try:
        with untouched(model), evaluating(model):
            call_model(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [
        Layer(name, type(module).__name__, tuple(shapes[name]), count_parameters(module))
        for name, module in model.named_modules()
        if name
    ]


def describe_value(value: Any) -> str:
    """The shape of a tensor, or what a tuple, list or mapping holds."""
    if isinstance(value, Tensor):
        return f"({', '.join(['N', *map(str, value.shape[1:])])})" if value.ndim else "()"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {describe_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(describe_value(item) for item in value) + "]"
    return type(value).__name__


@dataclass(frozen=True)
class Layers:
    """The layers of a model; prints as the table that ``layerlink layers`` shows.

    Args:
        layers: in the order of the tree.
    """

    layers: tuple[Layer, ...]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __str__(self) -> str:
        rows = [("layer", "kind", "output", "parameters"), *(layer.words() for layer in self.layers)]
        widths = [max(len(row[place]) for row in rows) for place in range(3)]
        return "\n".join(
            "   ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), f"{row[3]:>12}"])
            for row in rows
        )

    __repr__ = __str__


def layers(model: nn.Module, inputs: Any) -> Layers:
    """What can be tapped in a model, with the shapes that it gives for ``inputs``.

    Args:
        model: any module; left as it was.
        inputs: a tensor, a tuple (positional) or a mapping (keyword arguments); one example is enough.

    >>> import torch
    >>> print(layers(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()), torch.zeros(2, 4)))
    layer   kind     output     parameters
    0       Linear   (N, 3)             15
    1       ReLU     (N, 3)              0
    """
    return Layers(tuple(list_layers(model, inputs)))
