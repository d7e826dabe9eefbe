"""Means over what a mask keeps. What is masked reaches neither the value nor a gradient, whatever it holds."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.losses.shapes import ShapeError


def channel_axis(values: Tensor) -> int:
    """Where channels stand: second in (N, C) and maps (N, C, H, W), last in tokens (N, L, D)."""
    return 2 if values.ndim == 3 else 1


def positions(loss: str, mask: Tensor, values: Tensor) -> Tensor:
    """A mask of positions, so that it broadcasts over channels.

    Args:
        loss: for messages.
        mask: bool, true where a position counts: (N,) for (N, C), (N, L) for (N, L, D), (N, H, W) for (N, C, H, W).
        values: the activation.

    Raises:
        ShapeError: where the mask is of other positions.
    """
    if values.ndim < 2:
        raise ShapeError(f"{loss}: a mask needs an activation (N, ...) with channels; got {tuple(values.shape)}")
    axis = channel_axis(values)
    expected = values.shape[:axis] + values.shape[axis + 1 :]
    if mask.dtype != torch.bool or mask.shape != expected:
        raise ShapeError(
            f"{loss} needs a bool mask {tuple(expected)} for {tuple(values.shape)}; got {mask.dtype} "
            f"{tuple(mask.shape)}"
        )
    return mask.unsqueeze(axis)


def cleared(loss: str, values: Tensor, mask: Tensor | None) -> Tensor:
    """The values, 0 where the mask keeps nothing: NaN and infinity there do no harm."""
    return values if mask is None else torch.where(positions(loss, mask, values), values, torch.zeros_like(values))


def pairs(loss: str, mask: Tensor, values: Tensor) -> Tensor:
    """Which entries of maps of attention count, so that it broadcasts over heads: (N, 1, L, L).

    Args:
        loss: for messages.
        mask: bool, (N, L): true where a token counts, which hides the rows and the columns of others; or (N, L, L):
            true where the pair does.
        values: (N, heads, L, L).

    Raises:
        ShapeError: where the mask is of other tokens.
    """
    count, _, rows, columns = values.shape
    if mask.dtype == torch.bool and mask.shape == (count, rows, columns):
        return mask[:, None]
    if mask.dtype == torch.bool and rows == columns and mask.shape == (count, rows):
        return mask[:, None, :, None] & mask[:, None, None, :]
    raise ShapeError(
        f"{loss} needs a bool mask {(count, rows)} of tokens, or {(count, rows, columns)}, for {tuple(values.shape)}; "
        f"got {mask.dtype} {tuple(mask.shape)}"
    )


def mean_of(values: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over what is kept; 0, with a graph, where nothing is.

    Args:
        values: of any shape, 0 where nothing is kept.
        mask: bool, of the same shape or broadcasting to it; None keeps everything.
    """
    if mask is None:
        return values.mean()
    return values.sum() / mask.expand_as(values).sum().clamp_min(1)
