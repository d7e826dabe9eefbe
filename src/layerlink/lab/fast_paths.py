"""What makes the models of a run faster without changing what they compute. Measured in docs/performance.md."""

from __future__ import annotations

from collections import Counter

import torch
from torch import nn

from layerlink.lab.machine import Precision
from layerlink.models.tiny_maps import TinyMapConv2d, use_tiny_map_convolutions

# Of these, autocast turns weights and biases into bfloat16 at every use, and uses them for nothing else. Not so of
# their subclasses, which may compute with them in float32.
_CAST = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, TinyMapConv2d)


def make_fast(model: nn.Module, device: torch.device) -> None:
    """Let the convolutions of a model over tiny maps be matrix products, on the CPU."""
    if device.type == "cpu":
        use_tiny_map_convolutions(model)


def keep_cast_weights(teacher: nn.Module, precision: Precision) -> None:
    """Hold the weights of a frozen model in the dtype that autocast would turn them into at every batch.

    The bits that it computes stay the same. Parameters that another module uses too are left as they are.
    """
    if precision != "bfloat16":
        return
    owners = Counter(id(parameter) for module in teacher.modules() for parameter in _own(module))
    for module in teacher.modules():
        if type(module) in _CAST and "weight" in module._parameters and all(owners[id(p)] == 1 for p in _own(module)):
            for parameter in _own(module):
                parameter.data = parameter.data.bfloat16()


def _own(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module._parameters.values() if parameter is not None]
