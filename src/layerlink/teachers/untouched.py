"""A teacher that is only looked at, before a training: nothing is frozen, and everything left as it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from layerlink.taps import Activations, Observed, Tap, trace
from layerlink.teachers.teacher import CalledTeacher, is_teacher, models_of


class UntouchedTeacher:
    """Gives what a teacher gives, without making one of it.

    Args:
        teacher: a module, or anything that may teach; or a model as it is read.
        output, head: of a module, as in ``Observed``.
    """

    def __init__(self, teacher: Any, output: str = "", head: str = "") -> None:
        if isinstance(teacher, Observed):
            self.observed: Observed | None = teacher
            return
        modules = models_of(teacher)
        self._teacher = teacher if is_teacher(teacher) else CalledTeacher(teacher, output)
        known = getattr(teacher, "observed", None)
        self.observed = known if isinstance(known, Observed) else None
        if self.observed is None and modules:
            self.observed = Observed(modules[0], "teacher", output=output, head=head)

    def models(self) -> tuple[nn.Module, ...]:
        """None that are to be moved."""
        return ()

    def missing(self, taps: Iterable[Tap]) -> dict[Tap, str]:
        """The taps whose module does not exist, each with the sentence that says so."""
        return {} if self.observed is None else self.observed.missing(taps)

    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """What is wanted, in evaluation mode and without gradients."""
        if self.observed is not None:
            return trace(self.observed, wanted, inputs, evaluate=True)
        given: Activations = self._teacher(inputs, wanted, indices=indices)
        return given
