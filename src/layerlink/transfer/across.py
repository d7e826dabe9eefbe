"""Several processes that have a part of every batch each, as links see them."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, distributed

from layerlink.errors import UsageError


class Across(Protocol):
    """Processes that have a part of every batch each."""

    share: float  # of the batch's images that this process has, 0..1

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, without gradients."""
        ...

    def gather(self, values: Tensor) -> Tensor:
        """All processes' rows in their order; gradients reach this process's own."""
        ...


class EqualParts:
    """The processes of ``torch.distributed``, with as many examples each: as a ``DistributedSampler`` gives them.

    Args:
        group: a process group; None for all processes.

    Raises:
        UsageError: where ``torch.distributed`` is not initialised.
    """

    def __init__(self, group: Any = None) -> None:
        if not (distributed.is_available() and distributed.is_initialized()):
            raise UsageError(
                "there are no other processes: call torch.distributed.init_process_group(...) before share_with(), "
                "and start them by torchrun"
            )
        self.group = group
        self.size, self.rank = distributed.get_world_size(group), distributed.get_rank(group)
        self.share = 1 / self.size

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, without gradients, in ``values`` itself."""
        distributed.all_reduce(values, group=self.group)
        return values

    def gather(self, values: Tensor) -> Tensor:
        """All processes' rows in their order; gradients reach this process's own."""
        own = values.detach().contiguous()
        sent = own.to(torch.uint8) if own.dtype == torch.bool else own
        parts = [torch.empty_like(sent) for _ in range(self.size)]
        distributed.all_gather(parts, sent, group=self.group)
        rows = [part.to(own.dtype) for part in parts]
        return torch.cat([*rows[: self.rank], values, *rows[self.rank + 1 :]])

    def __deepcopy__(self, _memo: dict[int, Any]) -> EqualParts:
        return self  # a copied distiller is of the same processes


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
