"""Counts what would make the host wait for a GPU, on any machine."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Of these the host needs values, or how many values there are.
OPERATIONS = {
    *("_local_scalar_dense", "item", "nonzero", "masked_select", "equal", "is_nonzero", "allclose", "bincount"),
    *("unique", "_unique2", "unique_dim", "unique_consecutive", "argwhere", "histc", "_pin_memory"),
}
# Read by Python itself, which tells no operation of it on the CPU.
METHODS = {"tolist", "numpy", "cpu", "__array__"}


class Waits:
    """What the host waited for, or would have, while this is entered.

    Counted are readings of values (``item``, ``bool``, ``tolist``), results whose size depends on values, also those of
    an index that is a mask, copies to another device, and tensors that are made of Python's numbers: on a GPU they are
    copied there from memory that is not pinned.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.places: list[str] = []
        self._modes = (_Operations(self), _Methods(self))

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, name: str) -> None:
        self.counts[name] += 1
        frames = [it for it in traceback.extract_stack() if "/layerlink/" in it.filename or "/optim/" in it.filename]
        self.places.append(f"{name}: {' < '.join(f'{it.filename[-30:]}:{it.lineno}' for it in frames[:-4:-1])}")

    def __enter__(self) -> Waits:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(kind, error, trace)


class _Operations(TorchDispatchMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in OPERATIONS or _is_read_index(name, args) or _repeats_by_values(func) or name == "lift_fresh":
            self.waits.add(name)
        elif name == "_to_copy" and (kwargs or {}).get("device") not in (None, args[0].device):
            self.waits.add("copy")
        return func(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in METHODS:
            self.waits.add(func.__name__)
        return func(*args, **(kwargs or {}))


def _is_read_index(name: str, args: Sequence[Any]) -> bool:
    """Whether an index is a mask: how many values it gives has to be read."""
    if name not in ("index", "index_put_", "index_put"):
        return False
    return any(isinstance(it, Tensor) and it.dtype in (torch.bool, torch.uint8) for it in args[1])


def _repeats_by_values(func: Any) -> bool:
    return bool(func is torch.ops.aten.repeat_interleave.Tensor)
