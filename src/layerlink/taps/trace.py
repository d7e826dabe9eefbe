"""What one batch shows of a model, which is left as it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from layerlink.taps.activations import Activations
from layerlink.taps.in_place import snapshot
from layerlink.taps.modes import set_mode, untouched
from layerlink.taps.observed import Observed
from layerlink.taps.tap import Tap


@torch.no_grad()
def trace(observed: Observed, wanted: Iterable[Tap], inputs: Any, *, evaluate: bool = False) -> Activations:
    """One pass over ``inputs``, without gradients: the tensors and with them the shapes of all taps.

    Mode, buffers (batch norm's running values) and random state are put back.

    Args:
        observed: the model.
        wanted: what to read.
        inputs: one batch; two examples are enough.
        evaluate: in eval mode; else in the mode that the model is in.
    """
    with untouched(observed.model):
        if evaluate:
            set_mode(observed.model, training=False)
        # A copy, because a model may work in place on what it gets.
        try:
            return observed.read(tree_map_only(Tensor, snapshot, inputs), wanted)
        finally:
            _shard_again(observed.model)


def _shard_again(model: nn.Module) -> None:
    """Without a backward pass ``fully_shard`` leaves the outermost module whole; an optimiser would get that one."""
    for module in model.modules():
        reshard = getattr(module, "reshard", None)
        if reshard is not None and type(module).__name__.startswith("FSDP"):
            reshard()
