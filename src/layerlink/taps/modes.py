"""Models looked at without being changed: mode, buffers and random state are put back."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from layerlink.taps.randomness import kept


def set_mode(model: nn.Module, *, training: bool) -> None:
    """Put a model into training or evaluation mode; one that is fixed in its mode, such as an exported one, stays."""
    try:
        model.train(training)
    except NotImplementedError:
        return


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put mode, buffers, extra state and random state back afterwards."""
    modes = {module: module.training for module in model.modules()}
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if not is_lazy(buffer)
    ]
    extra = [
        (module, copy.deepcopy(module.get_extra_state())) for module in model.modules() if _has_extra_state(module)
    ]
    try:
        with kept():
            yield
    finally:
        for module, state in extra:
            module.set_extra_state(state)
        for module, training in modes.items():
            module.training = training
        for module, name, buffer, value in buffers:
            with torch.inference_mode() if buffer.is_inference() else torch.no_grad():
                module._buffers[name] = buffer.copy_(value)  # a model may have put another tensor there


def _has_extra_state(module: nn.Module) -> bool:
    return type(module).get_extra_state is not nn.Module.get_extra_state


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """``model`` in eval mode and without gradients; every module's mode is put back whatever happens."""
    modes = {module: module.training for module in model.modules()}
    set_mode(model, training=False)
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
