"""Several teachers at once: each is asked for what is wanted of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from layerlink.errors import UsageError, unknown_name
from layerlink.taps import Activations, Tap
from layerlink.teachers.teacher import Teacher


class SeveralTeachers:
    """Named teachers. A tap says by ``of`` whose it is; one of whom nothing is wanted is not run.

    Args:
        teachers: by name, two or more.
    """

    def __init__(self, teachers: Mapping[str, Teacher]) -> None:
        self.teachers = dict(teachers)

    def models(self) -> tuple[nn.Module, ...]:
        """All modules that they run."""
        return tuple(model for teacher in self.teachers.values() for model in teacher.models())

    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """What is wanted of each.

        Raises:
            UsageError: where a tap is of nobody.
        """
        asked: dict[str, list[Tap]] = {}
        for tap in wanted:
            if tap.of not in self.teachers:
                raise UsageError(unknown_name("teacher", tap.of, self.teachers))
            asked.setdefault(tap.of, []).append(replace(tap, of=""))
        whole = Activations()
        for name, taps in asked.items():
            given = self.teachers[name](inputs, taps, indices=indices)
            whole.values |= {replace(tap, of=name): value for tap, value in given.values.items()}
            whole.problems |= {replace(tap, of=name): f"{name}: {why}" for tap, why in given.problems.items()}
            whole.skipped |= {replace(tap, of=name) for tap in given.skipped}
        return whole
