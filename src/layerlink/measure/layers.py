"""The layers of a model, with the shapes that they give."""

from __future__ import annotations

from collections.abc import Mapping
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
