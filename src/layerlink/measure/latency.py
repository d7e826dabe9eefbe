"""How long a model takes for a batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from layerlink.measure.timing import Timing, measure
from layerlink.taps.modes import evaluating
from layerlink.taps.modules import call_model


@dataclass(frozen=True)
class Latency(Timing):
    """Time of a forward pass.

    Args:
        batch: images in it.
    """

    batch: int


def measure_latency(model: nn.Module, inputs: Any, arithmetic: Callable[[], AbstractContextManager[Any]]) -> Latency:
    """Time forward passes on ``inputs`` in eval mode.

    Args:
        model: left as it was.
        inputs: a batch (N, ...), or several tensors by name, on the model's device.
        arithmetic: makes the context to run in.
    """
    rows: Tensor = next(leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor))
    with evaluating(model), arithmetic():
        timing = measure(lambda: call_model(model, inputs), rows.device)
    return Latency(**vars(timing), batch=len(rows))
