"""Teachers whose answers lie on disk, in part or in whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from layerlink.taps import OUTPUT, Activations, Tap
from layerlink.teachers.teacher import Teacher

if TYPE_CHECKING:  # an own loop without a store does not load what writes files
    from layerlink.data.copies import Fetching, Queue
    from layerlink.teachers.store import TensorStore


class StoredTeacher:
    """Reads what is stored and lets a live teacher compute the rest, no further than that needs.

    Args:
        live: computes what is not stored.
        stored: what is there, a row an example of the data set.
    """

    reads_on_host = True  # indices of the host are not waited for; what is read goes to the inputs' device

    def __init__(self, live: Teacher, stored: Mapping[Tap, TensorStore]) -> None:
        self._live, self._stored = live, dict(stored)
        self._copies: Queue | None = None
        self._device: torch.device | None = None

    def models(self) -> Iterable[nn.Module]:
        """Those of the live teacher."""
        return self._live.models()

    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """What is wanted, read or computed."""
        taps, read = tuple(wanted), dict[Tap, Tensor]()
        if indices is not None and any(tap in self._stored for tap in taps):
            device = next((it.device for it in tree_leaves(inputs) if isinstance(it, Tensor)), indices.device)
            read = self._read([tap for tap in taps if tap in self._stored], indices, device)
        rest = [tap for tap in taps if tap not in read]
        given = self._live(inputs, rest, indices=indices) if rest else Activations()
        given.values.update(read)
        return given

    def _read(self, taps: Iterable[Tap], indices: Tensor, device: torch.device) -> dict[Tap, Tensor]:
        """Copied beside what the device is doing; what comes next there waits for it."""
        from layerlink.data.copies import queue_of

        if self._copies is None or self._device != device:
            self._copies, self._device = queue_of(device), device
        with self._copies.entered():
            read = {tap: self._stored[tap].read(indices, device) for tap in taps}
            mark = self._copies.mark()
        self._copies.main_waits(mark, read.values())
        return read


class KeepingTeacher:
    """A live teacher whose logits are kept in memory until every example was seen, and handed on then.

    An epoch that is resumed in its middle is not kept: some examples were seen before.

    Args:
        live: computes what is wanted.
        count: examples of the data set.
        keep: is given the logits, (count, C) float32, in the order of the data set.
    """

    reads_on_host = True

    def __init__(self, live: Teacher, count: int, keep: Callable[[Tensor], None]) -> None:
        self._live, self._keep = live, keep
        self._asked, self._seen = torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
        self._fetching: Fetching | None = None
        self._logits: Tensor | None = None

    def models(self) -> Iterable[nn.Module]:
        """Those of the live teacher."""
        return self._live.models()

    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """What is wanted, computed."""
        given = self._live(inputs, wanted, indices=indices)
        logits = given.values.get(OUTPUT)
        if logits is not None and indices is not None:
            self._add(logits, indices.cpu())
        return given

    def _add(self, logits: Tensor, rows: Tensor) -> None:
        from layerlink.data.copies import Fetching

        if self._fetching is None:
            self._fetching = Fetching(logits.device, self._take)
        self._fetching.add((logits.float(), rows))
        self._asked[rows] = True
        if bool(self._asked.all()):
            self._asked[:] = False
            self._fetching.finish()

    def _take(self, item: tuple[Tensor, Tensor]) -> None:
        logits, rows = item
        if self._logits is None:
            self._logits = torch.zeros(len(self._seen), *logits.shape[1:])
        self._logits[rows] = logits
        self._seen[rows] = True
        if bool(self._seen.all()):
            self._seen[:] = False
            self._keep(self._logits)
