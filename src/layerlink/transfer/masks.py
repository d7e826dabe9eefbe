"""Which positions of a batch count: read from the inputs, brought to the places where a link compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses import Context, ShapeError
from layerlink.taps import Activations
from layerlink.taps.element import ElementError, pick
from layerlink.taps.tap import Tap
from layerlink.tasks import Task
from layerlink.transfer.link import Link
from layerlink.transfer.link_part import LinkPart

_NOT = "not "


def input_mask(inputs: Any, where: str) -> Tensor:
    """The mask that stands in a model's inputs.

    Args:
        inputs: of the model: a tensor, a tuple (positional) or a mapping (keyword arguments).
        where: its element: ``attention_mask``, ``[batch][attention_mask]``, ``[1]``; after ``not`` where true, or 1,
            means "ignore this position".

    Returns:
        Bool, true where a position counts.

    Raises:
        UsageError: where there is none, or its values are not those of a mask.
    """
    path = where.strip()
    ignored = path.startswith(_NOT)
    path = path.removeprefix(_NOT).strip()
    keys = Tap.parse(f"inputs{path if path.startswith('[') else f'[{path}]'}").element
    given = inputs if not isinstance(inputs, Tensor) else (inputs,)
    try:
        mask = pick(given, keys, "inputs")
    except ElementError as error:
        raise UsageError(f"where={where}: {error}") from None
    found = as_mask(mask, f"where={where}")
    return ~found if ignored else found


def as_mask(mask: Tensor, name: str) -> Tensor:
    """A mask of true and false, or of 1 and 0, as one of true and false.

    Args:
        mask: as it was given.
        name: of what gave it, for messages.

    Raises:
        UsageError: where its values are not those of a mask.
    """
    if mask.dtype == torch.bool:
        return mask
    if mask.is_complex() or bool(((mask != 0) & (mask != 1)).any()):
        raise UsageError(
            f"{name}: a mask holds true and false, or 1 and 0; got {mask.dtype} from {float(mask.min()):g} to "
            f"{float(mask.max()):g}. Pass the mask of positions, not what is added to attention scores"
        )
    return mask != 0


def fitted(mask: Tensor, like: Tensor) -> Tensor:
    """A mask at the positions of an activation.

    Args:
        mask: (N, ...) bool: (N,), (N, L) or (N, H, W).
        like: the activation: (N, C), tokens (N, L, D), maps (N, C, H, W), or maps of attention (N, heads, L, L).

    Returns:
        (N,), (N, L) or (N, H, W); of attention (N, L, L), true where both positions count. Resized by nearest where the
        activation has other positions.

    Raises:
        ShapeError: where the mask has no such positions.
    """
    places = like.shape[2:] if like.ndim > 3 else like.shape[1:-1]
    if mask.ndim == 0 or len(mask) != len(like):
        raise ShapeError(f"the mask {tuple(mask.shape)} is not of the batch of {len(like)} of {tuple(like.shape)}")
    if mask.ndim == 1:
        return mask.view(-1, *(1 for _ in places)).expand(-1, *places)
    if mask.ndim == 2 and len(places) == 2 and places[0] == 1:  # a map of one row, see line_maps.py
        mask = mask[:, None]
    if mask.ndim == 2 and len(places) == 2 and places[0] == places[1]:
        row = _nearest(mask, places[:1])
        return row[:, :, None] & row[:, None, :]
    if mask.ndim != 1 + len(places):
        expected = ", ".join(map(str, (len(like), *places)))
        raise ShapeError(f"the mask {tuple(mask.shape)} has no positions of {tuple(like.shape)}: expected ({expected})")
    return _nearest(mask, places)


def mask_of(link: Link, inputs: Any, like: Tensor, given: Tensor | None) -> Tensor | None:
    """The mask of a link: what its ``where``, its ``teacher_where`` and the caller let count.

    Args:
        link: which.
        inputs: of the models.
        like: the activation at whose positions the link compares.
        given: by the caller, for all links; None where there is none.

    Raises:
        UsageError: where a mask is not there or does not fit.
    """
    found = [input_mask(inputs, where) for where in (link.where, link.teacher_where) if where]
    masks = [fitted(mask.to(like.device), like) for mask in (*found, *([] if given is None else [given.bool()]))]
    whole: Tensor | None = None
    for mask in masks:
        whole = mask if whole is None else whole & mask
    return whole


def contexts_of(
    links: Iterable[Link],
    parts: Mapping[str, LinkPart],
    inputs: Any,
    context: Context,
    taught: Activations | None,
    of_output: Tensor | None = None,
) -> dict[str, Context]:
    """What is known of a batch for links that have a mask, by their text.

    Args:
        links: of the objective at this time.
        parts: what computes them, by their text.
        inputs: of the models.
        context: for all terms; its mask is the caller's, for all links.
        taught: the teacher's activations, at whose positions links compare, once class tokens are dropped.
        of_output: which positions the task lets count, for links between outputs whose loss takes a mask.
    """
    known = {} if taught is None else taught.values
    found = {}
    for link in (link for link in links if known.keys() >= {*link.teacher_taps}):
        takes_task = of_output is not None and link.at_output and "mask" in parts[link.text].needs
        if not (context.mask is not None or link.where or link.teacher_where or takes_task):
            continue
        like = parts[link.text].prepared(tuple(known[tap] for tap in link.teacher_taps))[0]
        mask = mask_of(link, inputs, like, context.mask)
        if takes_task and of_output is not None:
            also = fitted(of_output.to(like.device), like)
            mask = also if mask is None else mask & also
        found[link.text] = replace(context, mask=mask)
    return found


def positions_of_output(task: Task, links: Iterable[Link], student: Activations, target: Any) -> Tensor | None:
    """Which positions of the output the task lets count, for links between outputs; None where all do."""
    if student.logits is None or not any(link.at_output for link in links):
        return None
    return task.positions(student.logits, target if isinstance(target, Tensor) else None, None)


def _nearest(mask: Tensor, places: tuple[int, ...]) -> Tensor:
    if mask.shape[1:] == places:
        return mask
    return F.interpolate(mask[:, None].float(), size=tuple(places), mode="nearest-exact")[:, 0] > 0.5
