"""What losses between examples share: inner products of flattened activations, and cosines."""

from __future__ import annotations

from torch import Tensor

from layerlink.losses.shapes import at_least_float32, own_digits, unit


def flat(values: Tensor) -> Tensor:
    """(N, D) of (N, ...), float32 or wider."""
    return at_least_float32(values).flatten(1)


def gram(first: Tensor, second: Tensor | None = None) -> Tensor:
    """Inner products of rows: (..., N, M) of (..., N, D) and (..., M, D), by default of the rows with one another."""
    with own_digits(first):
        product: Tensor = first @ (first if second is None else second).transpose(-1, -2)
        return product


def cosines(values: Tensor) -> Tensor:
    """Cosines between examples, (N, N) of (N, ...); 0 beside an example of zeros."""
    return gram(unit(flat(values), 1))
