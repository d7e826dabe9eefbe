"""The optimisers that a recipe may name: torch's own, with their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from layerlink.errors import unknown_name

# Of these the training section says what they are, for all optimisers alike; the rest is the loop's.
FIELDS = {"lr": "training.lr", "weight_decay": "training.weight_decay"}
FIELDS |= {name: f"training.{name}" for name in ("momentum", "nesterov")}
_OF_THE_LOOP = ("params", "foreach", "fused", "capturable", "differentiable", "maximize")
_REFUSED = {
    "lbfgs": "it asks for several passes a step",
    "muon": "it is for matrices alone",
    "sparseadam": "it is for sparse gradients alone",
}

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    name.lower(): made
    for name, made in vars(torch.optim).items()
    if isinstance(made, type)
    and issubclass(made, torch.optim.Optimizer)
    and made is not torch.optim.Optimizer
    and name.lower() not in _REFUSED
}


def takes(name: str, argument: str) -> bool:
    """Whether an optimiser has an argument of that name."""
    return argument in inspect.signature(OPTIMIZERS[name]).parameters


def problem_with(name: str, arguments: Mapping[str, Any]) -> str:
    """What is wrong with an optimiser's name, or with its arguments; empty where nothing is.

    Values that the optimiser itself refuses are told in its own words.
    """
    if name in _REFUSED:
        return f"optimizer {name} cannot be used: {_REFUSED[name]}"
    if name not in OPTIMIZERS:
        return unknown_name("optimizer", name, OPTIMIZERS)
    own = [it for it in inspect.signature(OPTIMIZERS[name]).parameters if it not in (*_OF_THE_LOOP, *FIELDS)]
    for argument in arguments:
        if argument in FIELDS:
            return f"optimizer_arguments: {argument} stands in {FIELDS[argument]}"
        if argument not in own:
            return unknown_name(f"argument of the optimizer {name}", argument, own)
    try:
        OPTIMIZERS[name]([torch.nn.Parameter(torch.zeros(1, 1))], lr=0.1, **as_values(arguments))
    except (ValueError, TypeError, RuntimeError) as error:
        return f"optimizer_arguments: {name} refuses them: {error}"
    return ""


def as_values(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """As the optimiser takes them: betas and the like are tuples, which YAML does not have."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
