"""When a term counts: from the start, until it ends, fading or not."""

from __future__ import annotations

from typing import Literal

Decay = Literal["none", "linear"]


def weight_at(weight: float, until: float | None, decay: Decay | None, epoch: float, epochs: float) -> float:
    """A weight at a time; 0 when its term is over.

    Args:
        weight: at the start.
        until: the term ends after so many epochs; None: with the training.
        decay: "linear" lets the weight fall to 0 at the end.
        epoch: since the start of the training, in epochs, fractions included.
        epochs: of the whole training.

    >>> weight_at(2.0, None, "linear", 3, 4)
    0.5
    """
    end = min(until or epochs, epochs)
    if until is not None and epoch >= end:
        return 0.0
    return weight * max(1 - epoch / end, 0.0) if decay == "linear" else weight
