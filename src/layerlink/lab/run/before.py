"""What a step changes before its loss is known: buffers, measured scales, random numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from layerlink.taps.randomness import RandomState
from layerlink.transfer import Distiller

MOST_BYTES = 16_000_000  # of buffers: a memory bank of a loss is not copied at every step


class Before:
    """Remembers what a distiller held before a step, beside its parameters, which a faulty step leaves as they are.

    Args:
        distiller: whose buffers are copied; where they are more than ``MOST_BYTES``, nothing is remembered.
    """

    def __init__(self, distiller: Distiller) -> None:
        self.distiller = distiller
        self.place: tuple[int | None, int] | None = None
        self.random: RandomState | None = None
        self._buffers: dict[str, Tensor] = {}
        self._scales: Tensor | None = None

    def take(self, place: tuple[int | None, int], random: RandomState) -> None:
        """Remember what there is now.

        Args:
            place: epoch and step, from 0, that are about to be.
            random: where the learner's random numbers stand.
        """
        now = dict(self.distiller.named_buffers())
        if sum(it.nbytes for it in now.values()) > MOST_BYTES:
            self.place = None
            return
        if self._buffers.keys() != now.keys():
            self._buffers = {name: torch.empty_like(it) for name, it in now.items()}
        if now:
            with torch.no_grad():
                torch._foreach_copy_(list(self._buffers.values()), list(now.values()))
        scales = self.distiller.scales
        self._scales = None if scales is None else scales.get_extra_state()
        self.place, self.random = place, random

    def put_into(self, state: dict[str, Any]) -> dict[str, Any]:
        """A state of a learner as it was before the step.

        Args:
            state: as ``Learner.unchecked_state`` gives it after the step has failed.
        """
        before = {name: it for name, it in self._buffers.items() if name in state["student"]}
        if self._scales is not None:
            before["scales._extra_state"] = self._scales
        random = state["random"] if self.random is None else self.random.plain()
        return {**state, "student": {**state["student"], **before}, "random": random}
