"""Modules by their paths, and how a model is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from layerlink.errors import closest


def find_module(model: nn.Module, path: str) -> nn.Module | None:
    """The module at ``path``, or None."""
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def no_such_layer(model: nn.Module, path: str, role: str) -> str:
    """The sentence that answers a path that ``role`` ("teacher", "student") does not have."""
    names = [name for name, _ in model.named_modules() if name]
    near = closest(path, names)
    hint = (
        f"Closest: {', '.join(near)}" if near else f"It has {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
    )
    return f"the {role} has no layer {path!r}. {hint}. All of them: layerlink layers MODEL"


def call_model(model: nn.Module, inputs: Any) -> Any:
    """Run ``model`` on a tensor, a tuple (as positional) or a mapping (as keyword arguments)."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple):
        return model(*inputs)
    return model(inputs)
