"""The student's own average as its teacher."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.taps import Activations, Tap
from layerlink.taps.observed import Arithmetic, Observed
from layerlink.teachers.peer import PeerTeacher


class EMATeacher(nn.Module):
    """An exponential moving average of the student teaches it: ``w = decay * w + (1 - decay) * student``.

    The average begins as the student is, and moves at ``Distiller.after_step()``, once a step of the optimiser; it is
    part of the distiller's ``state_dict``. Buffers, such as those of batch normalisation, are the student's.

    Args:
        student: that is trained.
        decay: of a step, 0 <= decay < 1.
        output: where in the model's output the logits are, as in ``Observed``.
        arithmetic: makes the context to run in; by default that of the caller.
        view: what it sees of the inputs; by default they themselves.

    Source: Tarvainen & Valpola 2017 (arXiv 1703.01780), eq. 1, with 0.99 and 0.999.
    """

    def __init__(
        self,
        student: nn.Module,
        decay: float = 0.999,
        *,
        output: str = "",
        arithmetic: Arithmetic = nullcontext,
        view: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise UsageError(f"decay must lie in 0 <= decay < 1; got {decay}")
        self.decay = decay
        self.average = copy.deepcopy(student).requires_grad_(False)
        self._teacher = PeerTeacher(self.average, output=output, arithmetic=arithmetic, view=view)

    @property
    def observed(self) -> Observed:
        """The average as it is read."""
        return self._teacher.observed

    @property
    def model(self) -> nn.Module:
        """The average."""
        return self.average

    def models(self) -> tuple[nn.Module, ...]:
        """The average."""
        return (self.average,)

    def __call__(self, inputs: Any, wanted: Iterable[Tap], *, indices: Tensor | None = None) -> Activations:
        """What is wanted of the average for ``inputs``."""
        return self._teacher(inputs, wanted, indices=indices)

    @torch.no_grad()
    def after_step(self, student: nn.Module) -> None:
        """Let the average follow the student."""
        own: list[Tensor] = list(self.average.parameters())
        new = [value.detach() for value in student.parameters()]
        if own:
            torch._foreach_lerp_(own, new, 1 - self.decay)
        for average, buffer in zip(self.average.buffers(), student.buffers(), strict=True):
            average.copy_(buffer)
