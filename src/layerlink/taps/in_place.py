"""Whether a tensor was overwritten in place since it was read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from layerlink.errors import LayerlinkError
from layerlink.taps.randomness import RandomState


class OverwrittenError(LayerlinkError):
    """A value was overwritten in place in this pass, though in none before, and there is no copy of it."""


class Before:
    """What a pass in training mode changes of a model beside its graph, as it was before: buffers, random numbers.

    Args:
        model: about to be run.
    """

    def __init__(self, model: nn.Module) -> None:
        self.buffers = list(model.buffers())
        self.values = [buffer.detach().clone() for buffer in self.buffers]
        self.random = RandomState.now()

    @torch.no_grad()
    def restore(self) -> None:
        """Put it all back."""
        for buffer, value in zip(self.buffers, self.values, strict=True):
            buffer.copy_(value)
        self.random.set()


def overwritten_since(tensor: Tensor, version: int | None) -> bool:
    """Whether an in-place operation changed ``tensor`` after its version was taken."""
    return version is None or tensor._version != version


def version_of(tensor: Tensor) -> int | None:
    """The in-place version counter; None in inference mode, which keeps none."""
    return None if tensor.is_inference() else tensor._version


def snapshot(tensor: Tensor) -> Tensor:
    """A copy with the same place in the autograd graph and the same memory format."""
    return tensor.clone()
