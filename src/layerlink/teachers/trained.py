"""Who trains what: no network that a distiller trains is frozen by another one without a word."""

from __future__ import annotations

import weakref
from typing import Any

from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

# Parameters that a distiller trains, each with a reference to that distiller: none is kept alive by this.
_TRAINED: Any = WeakIdKeyDictionary()


def is_trained_by(distiller: nn.Module, student: nn.Module) -> None:
    """Note that a distiller trains a student's parameters, those that have gradients."""
    for parameter in student.parameters():
        if parameter.requires_grad:
            _TRAINED[parameter] = weakref.ref(distiller)


def trained_elsewhere(model: nn.Module) -> str:
    """A parameter of the model that a distiller which is still there trains; empty where there is none."""
    for name, parameter in model.named_parameters():
        trainer = _TRAINED.get(parameter)
        if parameter.requires_grad and trainer is not None and trainer() is not None:
            return name
    return ""
