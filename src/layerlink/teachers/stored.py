"""Teachers whose answers lie on disk, in part or in whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from layerlink.taps import OUTPUT, Activations, Tap
from layerlink.teachers.teacher import Teacher

if TYPE_CHECKING:  # an own loop without a store does not load what writes files
    from layerlink.teachers.store import TensorStore


class StoredTeacher:
    """Reads what is stored and lets a live teacher compute the rest, no further than that needs.

    Args:
        live: computes what is not stored.
        stored: what is there, a row an example of the data set.
    """

    def __init__(self, live: Teacher, stored: Mapping[Tap, TensorStore]) -> None:
        self._live, self._stored = live, dict(stored)

    def models(self) -> Iterable[nn.Module]:
        """Those of the live teacher."""
        return self._live.models()

    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """What is wanted, read or computed."""
        taps = tuple(wanted)
        read = {tap: self._stored[tap].read(indices) for tap in taps if tap in self._stored and indices is not None}
        rest = [tap for tap in taps if tap not in read]
        given = self._live(inputs, rest, indices=indices) if rest else Activations()
        given.values.update(read)
        return given


class KeepingTeacher:
    """A live teacher whose logits are kept in memory until every example was seen, and handed on then.

    An epoch that is resumed in its middle is not kept: some examples were seen before.

    Args:
        live: computes what is wanted.
        count: examples of the data set.
        keep: is given the logits, (count, C) float32, in the order of the data set.
    """

    def __init__(self, live: Teacher, count: int, keep: Callable[[Tensor], None]) -> None:
        self._live, self._keep = live, keep
        self._seen = torch.zeros(count, dtype=torch.bool)
        self._logits: Tensor | None = None

    def models(self) -> Iterable[nn.Module]:
        """Those of the live teacher."""
        return self._live.models()

    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """What is wanted, computed."""
        given = self._live(inputs, wanted, indices=indices)
        logits = given.values.get(OUTPUT)
        if logits is not None and indices is not None:
            if self._logits is None:
                self._logits = torch.zeros(len(self._seen), *logits.shape[1:])
            rows = indices.cpu()
            self._logits[rows] = logits.float().cpu()
            self._seen[rows] = True
            if bool(self._seen.all()):
                self._seen[:] = False
                self._keep(self._logits)
        return given
