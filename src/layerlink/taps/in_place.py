"""Whether a tensor was overwritten in place since it was read."""

from __future__ import annotations

from torch import Tensor


def overwritten_since(tensor: Tensor, version: int | None) -> bool:
    """Whether an in-place operation changed ``tensor`` after its version was taken."""
    return version is None or tensor._version != version


def version_of(tensor: Tensor) -> int | None:
    """The in-place version counter; None in inference mode, which keeps none."""
    return None if tensor.is_inference() else tensor._version


def snapshot(tensor: Tensor) -> Tensor:
    """A copy with the same place in the autograd graph and the same memory format."""
    return tensor.clone()
