"""Copies between host and device that run beside the device's work. On the CPU the same calls copy nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

Item = TypeVar("Item")


class Queue(Protocol):
    """What a device does one thing after the other in, beside its main queue."""

    def entered(self) -> AbstractContextManager[Any]:
        """Work that is asked for meanwhile goes into this queue."""
        ...

    def after_main(self) -> None:
        """What comes next in this queue waits for what is in the main one now."""
        ...

    def mark(self) -> Any:
        """Where this queue stands."""
        ...

    def main_waits(self, mark: Any, tensors: Iterable[Tensor]) -> None:
        """What comes next in the main queue waits for ``mark``; then ``tensors`` are its own."""
        ...

    def host_waits(self, mark: Any) -> None:
        """Return when the device has come to ``mark``."""
        ...


class _NoQueue:
    """Of a device that copies at once."""

    def entered(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def after_main(self) -> None:
        """Nothing is ever behind."""

    def mark(self) -> None:
        return None

    def main_waits(self, mark: Any, tensors: Iterable[Tensor]) -> None:
        """Nothing to wait for."""

    def host_waits(self, mark: Any) -> None:
        """Nothing to wait for."""


class _CudaQueue:
    """A stream of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def entered(self) -> AbstractContextManager[Any]:
        return torch.cuda.stream(self.stream)

    def after_main(self) -> None:
        self.stream.wait_stream(torch.cuda.current_stream(self.device))

    def mark(self) -> Any:
        return self.stream.record_event()

    def main_waits(self, mark: Any, tensors: Iterable[Tensor]) -> None:
        main = torch.cuda.current_stream(self.device)
        main.wait_event(mark)
        for tensor in tensors:  # its memory is not given to others before the main stream is done with it
            tensor.record_stream(main)

    def host_waits(self, mark: Any) -> None:
        mark.synchronize()


def queue_of(device: torch.device) -> Queue:
    """A queue for copies to and from ``device``."""
    return _CudaQueue(device) if device.type == "cuda" else _NoQueue()


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on ``device``, in the main queue; the host does not wait for it."""
    return _pinned(tensor, device).to(device, non_blocking=True) if tensor.device != device else tensor


def _pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """In memory that a GPU copies from by itself."""
    return tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor


def ahead(items: Iterable[Item], device: torch.device, *, depth: int = 1) -> Iterator[Item]:
    """Each item with its tensors on ``device``; those of the next are copied while one is worked on.

    Args:
        items: tensors, or mappings, lists and tuples of them, on the host or there already.
        device: where they go.
        depth: how many are under way beside the one that is worked on.
    """
    queue, coming = queue_of(device), iter(items)
    under_way: list[tuple[Any, Any]] = []

    def start() -> None:
        for item in coming:
            with queue.entered():
                copy = tree_map_only(Tensor, lambda it: to_device(it, device), item)
                under_way.append((copy, queue.mark()))
            return

    try:
        for _ in range(depth):
            start()
        while under_way:
            item, mark = under_way.pop(0)
            start()
            queue.main_waits(mark, [it for it in tree_leaves(item) if isinstance(it, Tensor)])
            yield item
    finally:  # what reads them ends now, and not when somebody forgets it
        if isinstance(coming, Generator):
            coming.close()


class Fetching:
    """Brings what a device computes to the host, and hands it on when the next is computed already.

    Args:
        device: that computes it.
        take: is given each, in order, on the host.
    """

    def __init__(self, device: torch.device, take: Callable[[Any], None]) -> None:
        self._queue, self._take = queue_of(device), take
        self._under_way: list[tuple[Any, Any, Any]] = []

    def add(self, item: Any) -> None:
        """Begin to copy an item's tensors; the item before it is handed on."""
        self._queue.after_main()
        with self._queue.entered():
            copy = tree_map_only(Tensor, _to_host, item)
            self._under_way.append((copy, self._queue.mark(), item))  # the source lives until it is copied
        if len(self._under_way) > 1:
            self._hand_on()

    def finish(self) -> None:
        """Hand on what is left."""
        while self._under_way:
            self._hand_on()

    def _hand_on(self) -> None:
        copy, mark, _ = self._under_way.pop(0)
        self._queue.host_waits(mark)
        self._take(copy)


def _to_host(tensor: Tensor) -> Tensor:
    if tensor.device.type != "cuda":
        return tensor.cpu()
    # Pinned, or the copy would wait for the device.
    return torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor, non_blocking=True)
