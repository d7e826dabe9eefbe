"""Parameters and floating-point operations of a model, by its definition."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from layerlink.models.tiny_maps import plain_convolutions
from layerlink.taps.modes import evaluating, untouched
from layerlink.taps.modules import call_model


def count_parameters(model: nn.Module) -> int:
    """Parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_flops(model: nn.Module, inputs: Any, arithmetic: AbstractContextManager[Any] | None = None) -> int:
    """Floating-point operations of one forward pass on ``inputs``; a multiplication and an addition are two.

    Those of the model's definition: what a fast path saves is not taken off.

    Args:
        model: any module; left as it was.
        inputs: a tensor, a tuple (positional) or a mapping (keyword arguments).
        arithmetic: the context to run in.
    """
    with untouched(model), evaluating(model), plain_convolutions(), _plain_attention(), arithmetic or nullcontext():
        counter = FlopCounterMode(display=False)
        with counter:
            call_model(model, inputs)
    return int(counter.get_total_flops())


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention and the transformer layers of torch without fused kernels, which torch's counter does not see into."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)
