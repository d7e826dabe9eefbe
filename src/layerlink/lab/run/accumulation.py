"""Several batches an update: what the loss of one of them is in the loss of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from layerlink.data import Batch
from layerlink.transfer import Distiller, Losses
from layerlink.transfer.shares import counts_of


def part_of_update(distiller: Distiller, batch: Batch, losses: Losses, *, in_parts: bool) -> Tensor:
    """A batch's part of its update's loss: over all batches of the update these sum up to the loss of all at once.

    Every term counts by what it is a mean over: examples, labels that are known, positions that a mask keeps. Nothing
    here waits for the device.

    Args:
        distiller: whose terms these are, at this time.
        batch: one of its update.
        losses: of the batch.
        in_parts: whether several processes have a part of the batch each: all terms count by their examples then.
    """
    if len(batch.together) < 2:
        return losses.total
    examples = batch.count / sum(it.count for it in batch.together)
    if in_parts:
        return losses.total * examples
    counts = [counts_of(distiller, it.images, it.labels) for it in batch.together]
    place = batch.step - batch.together[0].step
    shares = {name: _share([count[name] for count in counts], place, examples) for name in losses.terms}
    return distiller.objective.weigh(replace(losses, shares=shares), distiller.factors).total


def _share(counts: Sequence[float | Tensor], place: int, examples: float) -> float | Tensor:
    """Of what counts in all; where nothing does, that of the examples."""
    own, whole = counts[place], sum(counts[1:], start=counts[0])
    if isinstance(own, Tensor) and isinstance(whole, Tensor):
        return torch.where(whole > 0, own.double() / whole.clamp_min(1), examples)
    return float(own) / float(whole) if whole else examples
