"""Which input of a model says what of a layer counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

MASK = "attention_mask"


def where_of(inputs: Any, shape: Sequence[int]) -> str:
    """What ``where=`` of a link names for a layer: padding of texts does not count.

    Args:
        inputs: what the model is called with.
        shape: of what the layer gives.

    Returns:
        ``attention_mask`` where there is one, (N, L), and the layer gives (N, L, D); else nothing.
    """
    mask = inputs.get(MASK) if isinstance(inputs, Mapping) else None
    fits = isinstance(mask, Tensor) and len(shape) == 3 and tuple(mask.shape) == tuple(shape[:2])
    return MASK if fits else ""
