"""Modules by their paths, and how a model is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.fx
from torch import nn

from layerlink.errors import closest
from layerlink.user_code import runs_a_model


def find_module(model: nn.Module, path: str) -> nn.Module | None:
    """The module at ``path``; None where there is none, or none that can be looked into."""
    if why_closed(model):
        return model if not path else None
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def why_closed(model: nn.Module) -> str:
    """What a model is whose layers cannot be read; empty where they can. A class may say it of itself as ``closed``."""
    if isinstance(model, torch.jit.ScriptModule):
        return "scripted or traced (torch.jit)"
    if isinstance(model, torch.fx.GraphModule) and _is_of_operators(model):
        return "exported (torch.export)"
    return str(getattr(type(model), "closed", ""))


def _is_of_operators(model: torch.fx.GraphModule) -> bool:
    """Whether a graph calls ATen's operators, where one traced by torch.fx alone still calls the modules."""
    return any(isinstance(node.target, torch._ops.OpOverload) for node in model.graph.nodes)


def no_such_layer(model: nn.Module, path: str, role: str) -> str:
    """The sentence that answers a path that ``role`` ("teacher", "student") does not have."""
    if closed := why_closed(model):
        return (
            f"the {role} is {closed}: it teaches by its outputs, and layers cannot be read. Link outputs (@output), "
            f"or pass the module that it was made of for layer {path!r}"
        )
    names = [name for name, _ in model.named_modules() if name]
    near = closest(path, names)
    hint = (
        f"Closest: {', '.join(near)}" if near else f"It has {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
    )
    return f"the {role} has no layer {path!r}. {hint}. All of them: layerlink layers MODEL"


@runs_a_model
def call_model(model: nn.Module, inputs: Any) -> Any:
    """Run ``model`` on a tensor, a tuple (as positional) or a mapping (as keyword arguments)."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple):
        return model(*inputs)
    return model(inputs)
