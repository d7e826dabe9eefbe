"""What a memory of examples is asked for: which others, and how alike they are."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.losses.shapes import own_digits


def negatives_of(indices: Tensor, size: int, count: int, seed: int) -> Tensor:
    """For every example others than itself, drawn with replacement, whatever the device.

    Args:
        indices: (N,) int64, of the examples among all.
        size: how many examples there are, >= 2.
        count: to draw for each.
        seed: of this draw.

    Returns:
        (N, count) int64, where ``indices`` are.
    """
    generator = torch.Generator().manual_seed(seed % (1 << 62))
    others = torch.randint(size - 1, (len(indices), count), generator=generator)
    if indices.device.type == "cuda":  # from such memory it is copied while the host goes on
        others = others.pin_memory()
    others = others.to(indices.device, non_blocking=True)
    return others + (others >= indices[:, None])


def likeness(features: Tensor, memory: Tensor, temperature: float) -> Tensor:
    """``exp(v . m / T)``, (N, K), of features (N, D) and memories (K, D), or (N, K, D): of each its own."""
    with own_digits(features):
        own = memory.ndim == 3
        products = torch.einsum("nkd,nd->nk", memory, features) if own else features @ memory.T
        return (products / temperature).exp()
