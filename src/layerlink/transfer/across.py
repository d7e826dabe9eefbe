"""Several processes that have a part of every batch each, as links see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, distributed, nn

from layerlink.errors import UsageError
from layerlink.losses import LossKind

_MOST_AXES = 8


class Across(Protocol):
    """Processes that have a part of every batch each."""

    share: float  # of the batch's images that this process has, 0..1

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, without gradients."""
        ...

    def gather(self, values: Tensor) -> Tensor:
        """All processes' rows in their order; gradients reach this process's own."""
        ...


class Part(Protocol):
    """What computes a link, as far as it is looked at here."""

    @property
    def kind(self) -> LossKind:
        """The loss's facts."""
        ...

    @property
    def across(self) -> Across | None:
        """The processes that it knows of."""
        ...

    def loss_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the loss, without the adapters'."""
        ...


class EqualParts:
    """The processes of ``torch.distributed``, with as many examples each: as a ``DistributedSampler`` gives them.

    Args:
        parts: what computes links. What a loss between images trains sees all of them in every process, so that its
            gradient is there as often as there are processes, and is divided by that.

    Raises:
        UsageError: where ``torch.distributed`` is not initialised.
    """

    def __init__(self, parts: Iterable[Part] = ()) -> None:
        if not (distributed.is_available() and distributed.is_initialized()):
            raise UsageError(
                "there are no other processes: call torch.distributed.init_process_group(...) before share_with(), "
                "and start them by torchrun"
            )
        self.size, self.rank = distributed.get_world_size(), distributed.get_rank()
        self.share = 1 / self.size
        for part in parts:
            if part.kind.between_images and not isinstance(part.across, EqualParts):  # hooks stay
                for parameter in part.loss_parameters():
                    parameter.register_hook(self._once)  # type: ignore[no-untyped-call]

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, without gradients, in ``values`` itself."""
        distributed.all_reduce(values)
        return values

    def gather(self, values: Tensor) -> Tensor:
        """All processes' rows in their order; gradients reach this process's own.

        Raises:
            UsageError: where the processes have other shapes.
        """
        own = values.detach().contiguous()
        sent = own.to(self._device(own), torch.uint8 if own.dtype == torch.bool else own.dtype)
        self._check_shapes(sent)
        parts = [torch.empty_like(sent) for _ in range(self.size)]
        distributed.all_gather(parts, sent)
        rows = [part.to(own) for part in parts]
        return torch.cat([*rows[: self.rank], values, *rows[self.rank + 1 :]])

    def _check_shapes(self, values: Tensor) -> None:
        """Sent otherwise they would be awaited for ever, or be read as something else."""
        own = torch.zeros(_MOST_AXES, dtype=torch.int64, device=values.device)
        own[: values.ndim] = torch.tensor(values.shape)
        shapes = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(shapes, own)
        given = {tuple(shape.tolist()) for shape in shapes}
        if len(given) > 1:
            said = ", ".join(str(tuple(size for size in shape if size)) for shape in sorted(given))
            raise UsageError(
                f"share_with() compares whole batches, and processes have activations of {said}. Give every process as "
                "many examples (drop_last=True), padded to the same length"
            )

    def _device(self, values: Tensor) -> torch.device:
        """Where values can be sent from: NCCL takes none of the processor's."""
        if values.device.type == "cpu" and distributed.get_backend() == "nccl":
            return torch.device("cuda", torch.cuda.current_device())
        return values.device

    def _once(self, gradient: Tensor) -> Tensor:
        return gradient / self.size

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
