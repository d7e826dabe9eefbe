"""Modules by their paths, and how a model is called."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

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
    try:
        if isinstance(inputs, Mapping):
            return model(**inputs)
        if isinstance(inputs, tuple):
            return model(*inputs)
        return model(inputs)
    except (TypeError, RuntimeError) as error:
        hint = _of_arguments(inputs) if isinstance(error, TypeError) else _of_digits(model, inputs)
        if hint and sys.version_info >= (3, 11):
            error.add_note(f"layerlink: {hint}")
        raise


def _of_arguments(inputs: Any) -> str:
    """How inputs become a model's arguments, where they are not a single one; empty elsewhere."""
    if isinstance(inputs, Mapping):
        return (
            f"a model gets a mapping as its keyword arguments, here {', '.join(map(str, inputs))}. Pass those that "
            "forward() takes, and labels as the distiller's second argument: distiller(inputs, labels)"
        )
    if isinstance(inputs, tuple | list):
        given = "a tuple as its positional arguments" if isinstance(inputs, tuple) else "a list as one argument"
        return (
            f"a model gets {given}, here {len(inputs)}. Of a batch (images, labels) pass the images: "
            "distiller(images, labels), example=images[:2]"
        )
    return ""


def _of_digits(model: nn.Module, inputs: Any) -> str:
    """That inputs have other floating-point numbers than the model; empty where they have the same, or none."""
    own = {it.dtype for it in model.parameters() if it.is_floating_point()}
    given = {it.dtype for it in tree_leaves(inputs) if isinstance(it, Tensor) and it.is_floating_point()}
    if not own or not given or own & given:
        return ""
    weights, numbers = (", ".join(sorted(map(str, side))) for side in (own, given))
    return (
        f"the model's weights are {weights}, its inputs {numbers}. Run both under torch.autocast, or give a teacher "
        "inputs of its own: layerlink.teachers.FrozenTeacher(model, view=lambda inputs: inputs.to("
        f"{sorted(map(str, own))[0]}))"
    )
