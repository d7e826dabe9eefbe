"""Lazy layers: those that learn their shapes in the first pass, and draw their weights there."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from layerlink.errors import UsageError
from layerlink.taps.modes import evaluating, untouched
from layerlink.taps.modules import call_model


def has_lazy_layers(model: nn.Module) -> bool:
    """Whether some parameter or buffer has no shape yet."""
    return any(is_lazy(value) for value in (*model.parameters(), *model.buffers()))


@torch.no_grad()
def fill_lazy_layers(model: nn.Module, inputs: Any, role: str = "model") -> None:
    """Let lazy layers take their shapes and draw their weights, by a pass in evaluation mode and one in training mode.

    Args:
        model: any module; its mode stays.
        inputs: as the model takes them.
        role: for messages.

    Raises:
        UsageError: where some have no shape after it.
    """
    with evaluating(model):
        call_model(model, inputs)
        if has_lazy_layers(model):  # such as a head that only helps to train
            with untouched(model):
                model.train()
                call_model(model, inputs)
    if has_lazy_layers(model):
        left = next(name for name, value in (*model.named_parameters(), *model.named_buffers()) if is_lazy(value))
        raise UsageError(f"the {role}'s lazy layer {left} does not run, so it has no shape")
