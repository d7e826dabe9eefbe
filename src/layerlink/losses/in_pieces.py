"""A sum over pieces whose gradient is found beside its value, so that of a piece nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Work = Callable[[Tensor, Any], Tensor]  # the values, a piece -> a scalar
AT_ONCE = 1 << 24  # numbers of a piece on an accelerator, which is idle between small ones


def slices(count: int, rows: int) -> list[slice]:
    """The pieces of so many rows, ``rows`` in each but the last."""
    return [slice(start, start + rows) for start in range(0, count, rows)]


def rows_at_once(numbers: int, device: torch.device, cached: int) -> int:
    """How many rows a piece has, >= 1, where one takes ``numbers``: on a processor as many as its cache holds."""
    return max(1, (cached if device.type == "cpu" else AT_ONCE) // numbers)


def sum_in_pieces(work: Work, values: Tensor, pieces: Iterable[Any]) -> Tensor:
    """``sum of work(values, piece)``; its gradient, where one is asked for, is a tensor like ``values``.

    Args:
        work: what a piece adds, a scalar. Only ``values`` gets a gradient of it.
        values: whatever all pieces are made of.
        pieces: what ``work`` is told, such as slices.
    """
    each = tuple(pieces)
    if len(each) == 1:  # nothing is gained
        return work(values, each[0])
    asked = values if torch.is_grad_enabled() else values.detach()
    found: Tensor = _Sum.apply(asked, work, each)  # type: ignore[no-untyped-call]
    return found


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, work: Work, pieces: tuple[Any, ...]) -> Tensor:
        learns = ctx.needs_input_grad[0]
        leaf = values.detach().requires_grad_(learns)
        total = values.new_zeros(())
        gradient = torch.zeros_like(values) if learns else None
        for piece in pieces:
            with torch.set_grad_enabled(learns):
                part = work(leaf, piece)
            if gradient is not None:
                gradient += torch.autograd.grad(part, leaf)[0]
            total += part.detach()
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * change, None, None
