"""What makes the models of a run faster without changing what they compute. Measured in docs/performance.md."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from layerlink.models.tiny_maps import TinyMapConv2d, use_tiny_map_convolutions
from layerlink.taps.modes import untouched
from layerlink.taps.modules import call_model
from layerlink.taps.observed import DTYPES, Precision

# Of these, autocast turns weights and biases into bfloat16 at every use, and uses them for nothing else. Not so of
# their subclasses, which may compute with them in float32.
_CAST = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, TinyMapConv2d)


def make_fast(model: nn.Module, device: torch.device, *, frozen: bool = False) -> None:
    """Let the convolutions of a model over tiny maps be matrix products, on the CPU.

    Args:
        model: one that nobody else uses.
        device: that it runs on.
        frozen: whether its weights never change again.
    """
    if device.type == "cpu":
        use_tiny_map_convolutions(model, keep_matrices=frozen)


def keep_cast_weights(teacher: nn.Module, precision: Precision, sample: Any) -> None:
    """Hold the weights of a frozen model in the dtype that autocast would turn them into at every batch.

    Parameters that another module uses too are left as they are, and all are where the model's answers change in a
    single bit, such as those of a model that normalises a layer's weight itself.

    Args:
        teacher: one that nobody else uses, on its device.
        precision: of the arithmetic.
        sample: inputs of the model, there.
    """
    if precision == "float32":
        return
    dtype = DTYPES[precision]
    owners = Counter(id(parameter) for module in teacher.modules() for parameter in _own(module))
    before, masters = _answers(teacher, sample, dtype), []
    for module in teacher.modules():
        if type(module) in _CAST and "weight" in module._parameters and all(owners[id(p)] == 1 for p in _own(module)):
            masters += [(parameter, parameter.data) for parameter in _own(module)]
    for parameter, master in masters:
        parameter.data = master.to(dtype)
    try:
        after = _answers(teacher, sample, dtype)
        same = 0 < len(before) == len(after) and all(map(torch.equal, before, after))
    except Exception:  # noqa: BLE001 - a model that computes a part in float32 by itself
        same = False
    if not same:
        for parameter, master in masters:
            parameter.data = master


def _answers(teacher: nn.Module, sample: Any, dtype: torch.dtype) -> list[Tensor]:
    device = next((value.device.type for value in (*teacher.parameters(), *teacher.buffers())), "cpu")
    with untouched(teacher), torch.no_grad(), torch.autocast(device, dtype):
        teacher.eval()
        return [leaf for leaf in tree_leaves(call_model(teacher, sample)) if isinstance(leaf, Tensor)]


def _own(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module._parameters.values() if parameter is not None]
