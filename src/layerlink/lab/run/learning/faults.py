"""The first step whose loss is no finite number, remembered on the device until the host looks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from layerlink.data import Batch
from layerlink.lab.run.learning.scaling import LEAST
from layerlink.taps import OUTPUT, Activations
from layerlink.transfer import Losses

LOOK_EVERY = 50  # steps at most between two looks of the host, each of which waits for the device
MOST_NOTES = 1000  # steps without a look, in a loop that never looks; then it is taken


@dataclass(frozen=True)
class Fault:
    """The first step of a training whose loss was NaN or infinite, and of whose gradients nothing was learnt.

    Args:
        epoch: from 0.
        step: from 0, within the epoch.
        terms: by name the raw terms that were not finite; none where only their weighted sum was not.
        whose: what else was not finite in that step, such as "the logits of the teacher".
    """

    epoch: int
    step: int
    terms: Mapping[str, float] = field(default_factory=dict)
    whose: tuple[str, ...] = ()

    @property
    def term(self) -> str:
        """The first of the terms; "the weighted sum" where each of them was finite."""
        return next(iter(self.terms), "the weighted sum")

    def __str__(self) -> str:
        bad = ", ".join(f"{name} = {value}" for name, value in self.terms.items()) or self.term
        whose = f" (neither are {_and(self.whose)})" if self.whose else ""
        return f"epoch {self.epoch + 1}, step {self.step + 1}: {bad} is not a finite number{whose}"


class _Note(NamedTuple):
    epoch: int
    step: int
    terms: tuple[str, ...]
    outputs: tuple[str, ...]
    is_scaled: bool
    values: Tensor  # the total, every term, the largest magnitude of every output, the gradients' scale


class Faults:
    """What students that train as one unit remember of their losses. Nothing here waits for the device but ``look``.

    From the first faulty step on ``stopped`` is 1, and no update is made until the host has looked.
    """

    def __init__(self) -> None:
        self.stopped: Tensor | None = None  # 0 or 1, float32, as optimisers take ``found_inf``
        self._notes: list[_Note] = []
        self._known: Fault | None = None

    def note(
        self, losses: Losses, batch: Batch, taught: Activations | None = None, scale: Tensor | None = None
    ) -> Tensor:
        """Remember a step's losses.

        Args:
            losses: of the whole batch.
            batch: says which step it is.
            taught: what the student learnt from in it.
            scale: what gradients are multiplied by, in float16.

        Returns:
            ``stopped``: 1 where this step or one before it is faulty.
        """
        outputs = _outputs(losses, taught)
        total = losses.total.detach()
        dtype = torch.float64 if total.dtype == torch.float64 else torch.float32
        values = [total, *(term.detach() for term in losses.terms.values()), *map(_largest, outputs.values())]
        together = torch.stack([value.to(dtype) for value in values])
        # What is not finite minus itself is NaN, and nothing else is unequal to 0.
        found = ((together[0] - together[0]) != 0).float()
        if scale is not None:
            found = torch.maximum(found, (scale < LEAST).float())
            together = torch.cat([together, scale.to(dtype).reshape(1)])
        self.stopped = found if self.stopped is None else torch.maximum(self.stopped, found)
        self._notes.append(
            _Note(batch.epoch or 0, batch.step, tuple(losses.terms), tuple(outputs), scale is not None, together)
        )
        if len(self._notes) >= MOST_NOTES:
            self.look()
        return self.stopped

    def look(self) -> Fault | None:
        """The first faulty step, where there was one; waits for the device."""
        (fault,) = look_at([self])
        return fault


def look_at(several: Iterable[Faults]) -> list[Fault | None]:
    """The first faulty step of each, in one reading of the device."""
    units = list(several)
    asked = [unit for unit in units if unit._known is None and unit.stopped is not None]
    flags = torch.stack([unit.stopped for unit in asked if unit.stopped is not None]).tolist() if asked else []
    for unit, flag in zip(asked, flags, strict=True):
        if flag:
            unit._known = _first(unit._notes)
        unit._notes.clear()
    return [unit._known for unit in units]


def _first(notes: list[_Note]) -> Fault | None:
    values = iter(torch.cat([note.values for note in notes]).tolist())
    for note in notes:
        total, *rest = itertools.islice(values, len(note.values))
        lost = note.is_scaled and rest.pop() < LEAST
        if math.isfinite(total) and not lost:
            continue
        terms = dict(zip(note.terms, rest, strict=False))
        outputs = zip(note.outputs, rest[len(note.terms) :], strict=True)
        bad = {name: value for name, value in terms.items() if not math.isfinite(value)}
        if math.isfinite(total):
            bad = {"the gradient, at any scale of float16,": math.nan}
        return Fault(note.epoch, note.step, bad, tuple(name for name, value in outputs if not math.isfinite(value)))
    return None


def _outputs(losses: Losses, taught: Activations | None) -> dict[str, Tensor]:
    """The models' outputs, small beside the layers within them."""
    found = {"the logits of the student": losses.logits}
    if taught is not None:
        found["the logits of the teacher"] = taught.logits
        found |= {f"the teacher's {tap}": value for tap, value in taught.taps.items() if replace(tap, of="") == OUTPUT}
    return {
        name: value.detach()
        for name, value in found.items()
        if value is not None and value.numel() and value.is_floating_point()
    }


def _largest(values: Tensor) -> Tensor:
    """The largest magnitude: NaN or infinite where any is, in one pass over them."""
    largest: Tensor = torch.linalg.vector_norm(values, math.inf)
    return largest


def _and(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
