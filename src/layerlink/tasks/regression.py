"""Regression: numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses import ShapeError, mse
from layerlink.losses.shapes import at_least_float32
from layerlink.tasks.task import Score, Softening, Task

_LOSSES = {"mse": F.mse_loss, "l1": F.l1_loss, "smooth_l1": F.smooth_l1_loss}


@dataclass(frozen=True)
class Regression(Task):
    """Outputs of any shape (N, ...), targets of the same; (N,) beside (N, 1) is taken as the same.

    Softened outputs are compared by their squared error, whatever the temperature: there is no softmax to soften.
    A target that is NaN is not known, and left out of the labels' loss.

    Args:
        loss: "mse", "l1" or "smooth_l1" (arXiv 1504.08083, eq. 3, with beta 1), mean over all numbers that are known.
    """

    loss: Literal["mse", "l1", "smooth_l1"] = "mse"

    name = "regression"
    score = Score("mae", "mean absolute error", unit="", higher_is_better=False, digits=4)
    has_classes = False

    def __post_init__(self) -> None:
        if self.loss not in _LOSSES:
            raise UsageError(f"regression: loss must be one of {', '.join(_LOSSES)}; got {self.loss!r}")

    def target_problems(self, target: Tensor, classes: int) -> list[str]:
        """Where targets are no numbers."""
        if target.is_floating_point():
            return []
        return [f"regression needs floating-point targets; the data has {target.dtype}. Convert them: targets.float()"]

    def hard(
        self, output: Tensor, target: Tensor, *, mask: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        """The error, mean over the numbers that are known."""
        if label_smoothing:
            raise UsageError("label_smoothing is of classes; the task regression has none")
        output, target = _alike(output, target)
        there = self._known(target, mask)
        rows = _LOSSES[self.loss](
            at_least_float32(output), target.masked_fill(~there, 0).to(at_least_float32(output).dtype), reduction="none"
        )
        return rows.masked_fill(~there, 0).sum() / there.sum().clamp_min(1)

    def counted(self, output: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Numbers that are known."""
        return self._known(_alike(output, target)[1], mask).sum()

    def soft(self, student: Tensor, teacher: Tensor, how: Softening, mask: Tensor | None = None) -> Tensor:
        """The squared error, mean over all numbers; the temperature cancels out where T^2 is multiplied by."""
        if mask is not None:
            rows = mask.view(-1, *(1 for _ in student.shape[1:])).expand_as(student)
            student, teacher = (side.masked_fill(~rows, 0) for side in (student, teacher))
            loss = mse(student, teacher) * (rows.numel() / rows.sum().clamp_min(1))
        else:
            loss = mse(student, teacher)
        return loss if how.t_squared else loss / how.temperature**2

    def averaged(self, outputs: Sequence[Tensor], shares: Sequence[float], temperature: float) -> Tensor:
        """The mean."""
        return torch.stack([share * output for output, share in zip(outputs, shares, strict=True)]).sum(0)

    def told(self, output: Tensor, classes: Sequence[str]) -> list[dict[str, str | float]]:
        """Of each example its numbers, by their names."""
        numbers = output.double().reshape(len(output), -1)
        names = list(classes) if len(classes) == numbers.shape[1] else [f"value {n}" for n in range(numbers.shape[1])]
        return [dict(zip(names, row, strict=True)) for row in numbers.tolist()]

    def judge(self, output: Tensor, target: Tensor) -> Tensor:
        """(n, 5): sums over an example's known numbers: how many, |error|, error^2, target, target^2."""
        output, target = _alike(output, target)
        there = self._known(target, None).flatten(1)
        wanted = target.double().flatten(1).masked_fill(~there, 0)
        error = (output.double().flatten(1) - wanted).masked_fill(~there, 0)
        return torch.stack(
            [there.sum(1).double(), error.abs().sum(1), error.square().sum(1), wanted.sum(1), wanted.square().sum(1)], 1
        )

    def summary(self, judged: Tensor) -> dict[str, float]:
        """Mean absolute error, root mean squared error, and R^2 (the share of the variance that is explained)."""
        count, absolute, squared, total, total_squared = judged.sum(0).tolist()
        if not count:
            return {"mae": float("nan")}
        variance = total_squared - total**2 / count
        found = {"mae": absolute / count, "rmse": (squared / count) ** 0.5}
        return found | ({"r2": 1 - squared / variance} if variance > 0 else {})

    def tally(self, output: Tensor, target: Tensor) -> Tensor:
        """The batch's sums."""
        return self.judge(output.detach(), target).sum(0)

    def score_of(self, tally: Tensor) -> float:
        """Mean absolute error."""
        count, absolute = tally[:2].tolist()
        return absolute / count if count else float("nan")

    def chance(self, target: Tensor) -> tuple[float, float]:
        """What the median alone would reach."""
        values = target.double()[~target.isnan()]
        distance = (values - values.median()).abs()
        return float(distance.mean()), float(distance.std() / len(distance) ** 0.5) if len(distance) > 1 else 0.0

    def partly_labelled(self) -> Task:
        """Itself: NaN is not known anyway."""
        return replace(self)

    @property
    def no_label(self) -> float:
        """NaN."""
        return float("nan")

    def _known(self, target: Tensor, mask: Tensor | None) -> Tensor:
        there = ~target.isnan()
        return there if mask is None else there & mask.view(-1, *(1 for _ in target.shape[1:]))


def _alike(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one shape.

    Raises:
        ShapeError: where they differ: broadcasting would compare every output with every target.
    """
    if output.shape == (*target.shape, 1):
        target = target[..., None]
    if output.shape != target.shape or not (output.is_floating_point() and target.is_floating_point()):
        raise ShapeError(
            "the task regression needs floating-point outputs and targets of one shape; got "
            f"{output.dtype} {tuple(output.shape)} and {target.dtype} {tuple(target.shape)}"
        )
    return output, target
