"""Several processes that have a part of every batch each, as links see them."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Across(Protocol):
    """Processes that have a part of every batch each."""

    share: float  # of the batch's images that this process has, 0..1

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, without gradients."""
        ...

    def gather(self, values: Tensor) -> Tensor:
        """All processes' rows in their order; gradients reach this process's own."""
        ...


def share_of(counted: Tensor | None, across: Across) -> float:
    """The part of what counts in all processes that is here, relative to the part of the images.

    Args:
        counted: how much counts here; None where that is a fixed number an image.
        across: the processes.
    """
    if counted is None:
        return 1.0
    own = counted.double() * (across.share > 0)
    whole = float(across.sum(own.clone()))
    return float(own) / whole / across.share if whole and across.share else 1.0
