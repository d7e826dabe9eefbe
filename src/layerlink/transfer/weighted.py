"""The weighted sum of a batch's terms, whose factors may be on the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


class Weights(Mapping[str, float]):
    """Factors of terms, of which some may be on the device; each is read when it is asked for.

    Args:
        factors: by the term's name.
    """

    def __init__(self, factors: Mapping[str, float | Tensor]) -> None:
        self._factors = dict(factors)

    def __getitem__(self, name: str) -> float:
        return float(self._factors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._factors)

    def __len__(self) -> int:
        return len(self._factors)

    def __repr__(self) -> str:
        return repr(dict(self))


def weighted_sum(
    terms: dict[str, Tensor], weights: dict[str, float | Tensor], shares: Mapping[str, float | Tensor]
) -> Tensor:
    """The sum of the terms that count.

    Args:
        terms: raw, scalars.
        weights: the factor of each.
        shares: what some count by beside it.
    """
    # A term of weight 0 is logged and no more: 0 * infinity would be NaN. A factor on the device is never 0.
    weighted = [
        _times(term, weights[name] * shares[name] if name in shares else weights[name])
        for name, term in terms.items()
        if isinstance(weights[name], Tensor) or weights[name]
    ]
    if not terms:  # every one was skipped in this pass
        return torch.zeros((), requires_grad=True)
    if not weighted:  # such as links alone, none of them measured yet
        return next(iter(terms.values())) * 0.0
    total = weighted[0]
    for term in weighted[1:]:
        total = total + term
    return total


def _times(term: Tensor, factor: float | Tensor) -> Tensor:
    if isinstance(factor, Tensor):  # rounded as a number of Python's would be; the term's dtype stays
        return term * factor.to(term.dtype)
    return term if factor == 1 else term * factor
