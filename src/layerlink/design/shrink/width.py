"""Fewer channels, whole dependency groups at a time, by the library torch-pruning."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import nn

from layerlink.design.shrink.passes import first_tensor
from layerlink.errors import UsageError
from layerlink.optional import need
from layerlink.taps.modules import call_model
from layerlink.user_code import told

ROUND_TO = 4  # channels: kernels are fast at multiples of it


def narrowed(model: nn.Module, share: float, inputs: Any) -> nn.Module:
    """A copy in which about ``share`` of the channels of every layer but the outputs are left, the largest by norm.

    Where the model's own code fixes channels, as a shortcut that is filled up with zeros does, only those inside of
    blocks become fewer.

    Args:
        model: that is pruned.
        share: of the channels, 0 to 1.
        inputs: an example, as it takes them.

    Raises:
        LayerlinkError: where torch-pruning is missing.
        UsageError: where it cannot be pruned.
    """
    pruning = need("torch_pruning", "shrink", "making layers narrower")
    problem = ""
    for inner in (False, True):
        student = copy.deepcopy(model)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _prune(pruning, student, share, inputs, inner)
                expected, given = (_output_shape(it, inputs) for it in (model, student))
            if expected == given:
                return student
            problem = f"its output became {given}, not {expected}"
        except Exception as error:  # noqa: BLE001 - whatever a library meets in somebody's model
            problem = told(error)
    raise UsageError(f"its layers cannot be made narrower: {problem}")


def _prune(pruning: Any, model: nn.Module, share: float, inputs: Any, inner: bool) -> None:
    example = tuple(inputs) if isinstance(inputs, tuple) else inputs
    pruner = pruning.pruner.MagnitudePruner(
        *(model, example),
        importance=pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=1 - share,
        ignored_layers=_fixed(pruning, model, example, inner),
        round_to=_round_to(model),
    )
    pruner.step()


def _round_to(model: nn.Module) -> int | None:
    """Nothing where layers are so narrow that it would decide how many channels stay."""
    narrow = min((it.out_channels for it in model.modules() if isinstance(it, nn.Conv2d)), default=0)
    return ROUND_TO if narrow >= 8 * ROUND_TO else None


def _fixed(pruning: Any, model: nn.Module, example: Any, inner: bool) -> list[nn.Module]:
    """The layers whose channels stay: that gives the output, and, for ``inner``, those that are added to others."""
    graph = pruning.DependencyGraph().build_dependency(model, example_inputs=example)
    kept: list[nn.Module] = _givers(model, example)
    for group in graph.get_all_groups(ignored_layers=kept) if inner else ():
        layers = {
            id(dep.target.module): dep.target.module
            for dep, _ in group
            if isinstance(dep.target.module, nn.Conv2d | nn.Linear) and graph.is_out_channel_pruning_fn(dep.handler)
        }
        if len(layers) > 1 or _touches_more(group):
            kept += layers.values()
    return kept


def _touches_more(group: Any) -> bool:
    """Whether channels go through anything but layers, norms and activations: joined, cut or filled up."""
    kinds = ("_ElementWiseOp", "_ReshapeOp")
    odd = [dep for dep, _ in group if type(dep.target.module).__name__ not in kinds]
    names = {str(dep.target.type) for dep, _ in group}
    return any(name.endswith(("CONCAT", "SPLIT", "SLICE", "PAD", "EXPAND")) for name in names) or not odd


def _givers(model: nn.Module, example: Any) -> list[nn.Module]:
    """Layers with weights whose number of outputs is the model's: classifiers."""
    last = _output_shape(model, example)[-1:]
    layers: list[nn.Module] = [it for it in model.modules() if isinstance(it, nn.Linear | nn.Conv2d)]
    ends = [it for it in layers if (len(next(it.parameters())),) == tuple(last)]
    return ends[-1:] or layers[-1:]


def _output_shape(model: nn.Module, inputs: Any) -> tuple[int, ...]:
    training = model.training
    model.eval()
    with torch.no_grad():
        output = call_model(model, inputs)
    model.train(training)
    found = first_tensor(output)
    return () if found is None else tuple(found.shape)
