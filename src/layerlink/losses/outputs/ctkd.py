"""Curriculum temperature: a temperature that learns to make it harder for the student."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses.masking import channel_axis, cleared, mean_of
from layerlink.losses.outputs.soft import divergences
from layerlink.losses.outputs.standardise import comparable
from layerlink.losses.shapes import ShapeError, require_classes, require_equal_shapes


class CTKD(nn.Module):
    """``kd`` with a learned ``T = start + span * sigmoid(a)``; a climbs the loss that the student goes down.

    The gradient that reaches a is turned and multiplied by lambda, which rises from 0 to 1 along half a cosine while
    the training goes from 0 to ``rise``: the task begins easy and grows hard.

    Args:
        student: shape of the student's logits, (N, C), (N, L, C) or (N, C, H, W).
        teacher: of the teacher's, the same.
        start: smallest temperature, > 0.
        span: the largest is ``start + span``, > 0.
        rise: share of the training after which lambda is 1, 0..1.
        standardise: compare standardised logits, see ``standardise``.

    ``forward`` gives a scalar in nats times T^2, float32 or wider; 0 for equal outputs.

    Source: Li et al. 2023 (arXiv 2211.16231), eq. 5 to 7, the global temperature.
    Weight: 0.9 beside 0.1 of the labels; start 1, span 20, 10 of 240 epochs.
    When: there is no time to search for a temperature.
    Cost: that of kd and one parameter, which is trained with the student's.
    """

    def __init__(
        self,
        student: Sequence[int],
        teacher: Sequence[int],
        *,
        start: float = 1.0,
        span: float = 20.0,
        rise: float = 10 / 240,
        standardise: bool = False,
    ) -> None:
        super().__init__()
        if tuple(student[1:]) != tuple(teacher[1:]) or len(student) not in (2, 3, 4):
            raise ShapeError(f"ctkd needs logits of equal shapes; got {tuple(student)} and {tuple(teacher)}")
        if not (start > 0 and span > 0 and 0 <= rise <= 1):
            raise UsageError(f"ctkd: start and span must be > 0, rise in 0..1; got {start:g}, {span:g}, {rise:g}")
        self.start, self.span, self.rise = start, span, rise
        self.standardise = standardise
        self.height = nn.Parameter(torch.ones(()))

    def forward(
        self, student: Tensor, teacher: Tensor, *, mask: Tensor | None = None, progress: float | None = None
    ) -> Tensor:
        """The loss of two outputs; without ``progress`` lambda is 1."""
        teacher = teacher.detach()
        require_equal_shapes("ctkd", student, teacher)
        require_classes("ctkd", student)
        share = 1.0 if progress is None or progress >= self.rise else progress / self.rise
        turned: Tensor = _Turned.apply(self.height, 0.5 - 0.5 * math.cos(math.pi * share))  # type: ignore[no-untyped-call]
        axis = channel_axis(student)
        own, other = (
            comparable(cleared("ctkd", side, mask), self.standardise, axis=axis) for side in (student, teacher)
        )
        temperature = (self.start + self.span * turned.sigmoid()).to(own.dtype)
        rows = divergences(own / temperature, other / temperature, temperature=1.0, axis=axis)
        return mean_of(rows if mask is None else rows * mask, mask) * temperature.square()


class _Turned(torch.autograd.Function):
    """The value itself; its gradient against the sign, times a factor."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * -ctx.factor, None
