"""Batches as people have them, in the form that models take."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from layerlink.errors import UsageError
from layerlink.measure.cka import LEAST

TRACED = 4  # examples: enough to see what is the same tensor


def whole_batches(batches: Any, model: nn.Module, most: int) -> list[Any]:
    """The first batches, as models take them, on the model's device.

    Args:
        batches: an iterable of them, or one alone.
        model: the student.
        most: how many.

    Raises:
        UsageError: where there are none, or the first has too few examples.
    """
    if isinstance(batches, Tensor | Mapping):
        batches = [batches]
    if not isinstance(batches, Iterable):
        raise UsageError(f"batches must be an iterable of batches, such as a DataLoader; got {type(batches).__name__}")
    first = [_as_taken(model, batch) for batch in itertools.islice(batches, max(most, 1))]
    if not first:
        raise UsageError("there are no batches to look at; pass at least one")
    counts = [examples_in(batch) for batch in first]
    if counts[0] < LEAST:
        raise UsageError(
            f"a batch must hold at least {LEAST} examples, which the unbiased estimate of similarity needs; got "
            f"{counts[0]}. 64 or more make it certain"
        )
    return [batch for batch, count in zip(first, counts, strict=True) if count >= LEAST]  # the last may be a rest


def _as_taken(model: nn.Module, batch: Any) -> Any:
    """The batch without labels that the model does not take, on its device: loaders give them on the CPU."""
    device = device_of(model)
    if isinstance(batch, Mapping):
        batch = dict(batch)  # a tokenizer's own kind, say
    if isinstance(batch, list) and batch:
        batch = batch[0]
    if isinstance(batch, tuple):
        taken = next((count for count in range(len(batch), 0, -1) if _takes(model, batch[:count])), len(batch))
        batch = batch[:taken] if taken > 1 else batch[0] if batch else batch
    return tree_map_only(Tensor, lambda it: it.to(device), batch)


def _takes(model: nn.Module, positional: tuple[Any, ...]) -> bool:
    try:
        inspect.signature(model.forward).bind(*positional)
    except (TypeError, ValueError):
        return False
    return True


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters are."""
    return next((it.device for it in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def examples_in(inputs: Any) -> int:
    """How many examples a batch holds: the length of its first tensor with an axis.

    Raises:
        UsageError: where it holds none.
    """
    first = next((leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor) and leaf.ndim), None)
    if first is None:
        raise UsageError(
            f"a batch must be what the models take: a tensor, a tuple or a mapping with tensors; got "
            f"{type(inputs).__name__}"
        )
    return len(first)


def few(inputs: Any, count: int = TRACED) -> Any:
    """The first examples of a batch; what is not one row an example stays as it is."""
    whole = examples_in(inputs)
    return tree_map_only(Tensor, lambda it: it[:count] if it.ndim and len(it) == whole else it, inputs)
