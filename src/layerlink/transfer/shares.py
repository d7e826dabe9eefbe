"""What a part of an accumulated batch counts in the whole: means over parts of unequal size are put together right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from layerlink.tasks import CausalLM, Regression, Task
from layerlink.transfer.distiller import Distiller
from layerlink.transfer.masks import input_mask


def shares_of(distiller: Distiller, parts: Sequence[tuple[Mapping[str, Any], Any]]) -> list[dict[str, float]]:
    """For every part of a batch and every term of the distiller, the part's share of what the term is a mean over.

    That is, for the labels' loss the labels that count; for softened outputs and links between outputs the positions
    of labels that are not ignored; for links with ``where`` what they compare of their mask; for all others
    the examples. Links between examples see those of a part alone.

    Args:
        distiller: whose terms these are.
        parts: of each the student's inputs, without labels, and the labels, or None.

    Returns:
        Of each part the shares by term, which sum to 1 over the parts; equal ones where nothing counts at all.
    """
    counts = [
        {name: float(count) for name, count in counts_of(distiller, inputs, labels).items()} for inputs, labels in parts
    ]
    names = list(counts[0]) if counts else []
    totals = {name: sum(count[name] for count in counts) for name in names}
    return [
        {name: count[name] / totals[name] if totals[name] else 1 / len(parts) for name in names} for count in counts
    ]


def weighed(distiller_losses: Mapping[str, Tensor], weights: Mapping[str, float], share: Mapping[str, float]) -> Tensor:
    """A part's contribution to the whole batch's loss.

    Args:
        distiller_losses: raw terms by name.
        weights: their factors.
        share: of the part, as ``shares_of`` gives it.
    """
    counting = [name for name in distiller_losses if weights[name]]
    parts = [distiller_losses[name] * (weights[name] * share.get(name, 1.0)) for name in counting]
    return torch.stack(parts).sum() if parts else next(iter(distiller_losses.values())) * 0.0


def counts_of(distiller: Distiller, inputs: Any, labels: Any) -> dict[str, float | Tensor]:
    """How much of a part every term of the distiller is a mean over, as ``shares_of`` has it.

    Args:
        distiller: whose terms these are.
        inputs: the student's, without labels.
        labels: or None.

    Returns:
        By term a number, or a scalar on the device that nothing has waited for.
    """
    values = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    examples = float(len(next(value for value in values if isinstance(value, Tensor))))
    known, there = _of_labels(distiller.task, labels, examples)
    counts: dict[str, float | Tensor] = {"hard": known, "soft": there}
    for link in distiller.whole_objective.links:
        if link.where:
            counts[link.text] = distiller.whole_objective.parts[link.text].counted(input_mask(inputs, link.where))
        else:
            counts[link.text] = there if link.at_output else examples
    return counts


def _of_labels(task: Task, labels: Any, examples: float) -> tuple[float | Tensor, float | Tensor]:
    """How many labels are known, and how many are not ignored."""
    ignore, unlabelled = getattr(task, "ignore", None), getattr(task, "unlabelled", None)
    if not isinstance(labels, Tensor):
        return examples, examples
    if labels.is_floating_point():
        if unlabelled is None and not isinstance(task, Regression):
            return examples, examples
        return (~labels.isnan() if unlabelled is None else labels != unlabelled).sum(), examples
    told = labels[:, 1:] if isinstance(task, CausalLM) else labels
    if ignore is None and unlabelled is None:
        return float(told.numel()), float(told.numel())
    there = torch.ones_like(told, dtype=torch.bool) if ignore is None else told != ignore
    known = there if unlabelled is None else there & (told != unlabelled)
    return known.sum(), there.sum()
