"""A memory of examples: which others it is asked for, how alike they are, how it moves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses.shapes import own_digits, unit

WHOLE = 8  # up to so many examples a negative, products with all of the memory are cheaper than collecting the drawn


@dataclass(frozen=True)
class Alike:
    """How alike each of N examples is to its own memory and to those of others.

    Args:
        same: (N, 1), to its own.
        others: (N, K), to those of others: of the drawn, or of all.
        often: (N, K), where it is of all how often each was drawn; None: each once.
        count: how many others were drawn for each example.
    """

    same: Tensor
    others: Tensor
    often: Tensor | None
    count: int

    def counted(self, values: Tensor) -> Tensor:
        """What belongs to ``others``, each as often as it was drawn."""
        return values if self.often is None else values * self.often

    def mean(self) -> Tensor:
        """Over own and drawn memories, a scalar in float64, without gradients."""
        drawn = self.counted(self.others.detach()).double().sum()
        return (self.same.detach().double().sum() + drawn) / (len(self.same) * (1 + self.count))


def check_indices(indices: Tensor, size: int) -> None:
    """Raise ``UsageError`` where an example is none of ``size``; the host reads them."""
    if not 0 <= int(indices.min()) <= int(indices.max()) < size:
        raise UsageError(
            f"crd remembers {size} training examples, so indices lie in 0..{size - 1}; got {int(indices.min())}.."
            f"{int(indices.max())}. Set train_size to the number of training examples"
        )


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


def alike(features: Tensor, memory: Tensor, indices: Tensor, drawn: Tensor, temperature: float) -> Alike:
    """``exp(v . m / T)`` of features with their own memories and those of others.

    Args:
        features: (N, D).
        memory: (examples, D), of all.
        indices: (N,) int64, which examples the features are of.
        drawn: (N, count) int64, the others.
        temperature: T > 0.
    """
    count = drawn.shape[1]
    same = _likeness(features, memory.index_select(0, indices)[:, None].to(features.dtype), temperature)
    if len(memory) > WHOLE * count:
        return Alike(same, _likeness(features, memory[drawn].to(features.dtype), temperature), None, count)
    whole = memory.to(features.dtype, copy=True)  # the memory moves before the backward pass
    others = _likeness(features, whole, temperature)
    often = torch.zeros_like(others).scatter_add_(1, drawn, others.new_ones(()).expand_as(drawn))
    return Alike(same, others, often, count)


@torch.no_grad()
def remember(memory: Tensor, indices: Tensor, features: Tensor, momentum: float) -> None:
    """Move a memory to what examples are like now, and bring it back to length 1.

    Args:
        memory: (examples, D), written in place.
        indices: (N,) int64, which examples the features are of.
        features: (N, D).
        momentum: of the old, 0 <= m < 1.
    """
    moved = momentum * memory[indices] + (1 - momentum) * features.to(memory.dtype)
    memory[indices] = unit(moved, 1)


def _likeness(features: Tensor, memory: Tensor, temperature: float) -> Tensor:
    """``exp(v . m / T)``, (N, K), of features (N, D) and memories (K, D), or (N, K, D): of each its own."""
    with own_digits(features):
        own = memory.ndim == 3
        products = torch.einsum("nkd,nd->nk", memory, features) if own else features @ memory.T
        return (products / temperature).exp()
