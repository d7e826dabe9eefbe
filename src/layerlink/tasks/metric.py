"""Metrics of other packages beside a task's own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Size, Tensor

from layerlink.errors import UsageError
from layerlink.tasks.task import Score, Softening, Task


class Metric(Protocol):
    """What torchmetrics calls a metric."""

    def reset(self) -> None:
        """Forget everything."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take a batch: outputs and targets."""

    def compute(self) -> Any:
        """The number of all that was taken."""


@dataclass(frozen=True)
class WithMetrics(Task):
    """A task whose numbers have those of metrics beside them, such as torchmetrics'.

    In a recipe a callable of one's own gives it: ``task: mypackage.tasks:with_auroc``.

    Args:
        base: the task.
        metrics: by name; each is given all outputs and targets of a data set, on the CPU.
        select: the name of the metric that takes the place of the task's score; None: the task's own.
        higher_is_better: whether more of it is better.
    """

    base: Task
    metrics: Mapping[str, Metric]
    select: str | None = None
    higher_is_better: bool = True
    _shapes: dict[str, Size] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        wrong = [name for name in self.metrics if not name.isidentifier()]
        if wrong or (self.select is not None and self.select not in self.metrics):
            raise UsageError(f"metrics are named by words, and select is one of them; got {list(self.metrics)}")

    @property
    def name(self) -> str:  # type: ignore[override]
        """The task's."""
        return self.base.name

    @property
    def score(self) -> Score:  # type: ignore[override]
        """The metric that selects, or the task's own."""
        if self.select is None:
            return self.base.score
        return Score(self.select, self.select.replace("_", " "), "", self.higher_is_better, 4)

    @property
    def has_classes(self) -> bool:  # type: ignore[override]
        """The task's."""
        return self.base.has_classes

    @property
    def one_class(self) -> bool:  # type: ignore[override]
        """The task's."""
        return self.base.one_class

    @property
    def ignore(self) -> int | None:  # type: ignore[override]
        """The task's."""
        return self.base.ignore

    def problems(self, output: Size, classes: int) -> list[str]:
        """The task's."""
        return self.base.problems(output, classes)

    def target_problems(self, target: Tensor, classes: int) -> list[str]:
        """The task's."""
        return self.base.target_problems(target, classes)

    def positions(self, output: Tensor, target: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """The task's."""
        return self.base.positions(output, target, mask)

    def hard(
        self, output: Tensor, target: Tensor, *, mask: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        """The task's."""
        return self.base.hard(output, target, mask=mask, label_smoothing=label_smoothing)

    def counted(self, output: Tensor, target: Tensor, mask: Tensor | None) -> Tensor | None:
        """The task's."""
        return self.base.counted(output, target, mask)

    def soft(self, student: Tensor, teacher: Tensor, how: Softening, mask: Tensor | None = None) -> Tensor:
        """The task's."""
        return self.base.soft(student, teacher, how, mask)

    def averaged(self, outputs: Sequence[Tensor], shares: Sequence[float], temperature: float) -> Tensor:
        """The task's."""
        return self.base.averaged(outputs, shares, temperature)

    def answers(self, output: Tensor) -> Tensor | None:
        """The task's."""
        return self.base.answers(output)

    def told(self, output: Tensor, classes: Sequence[str]) -> list[dict[str, str | float]]:
        """The task's."""
        return self.base.told(output, classes)

    def judge(self, output: Tensor, target: Tensor) -> Tensor:
        """What the task judges, then outputs and targets."""
        rows = self.base.judge(output, target)
        self._shapes.update(rows=rows.shape[1:], output=output.shape[1:], target=target.shape[1:])
        return torch.cat([rows, output.double().flatten(1), target.double().reshape(len(target), -1)], dim=1)

    def summary(self, judged: Tensor) -> dict[str, float]:
        """The task's numbers and the metrics'; the score first."""
        sizes = [max(self._shapes[part].numel(), 1) for part in ("rows", "output", "target")]
        rows, output, target = torch.split(judged, sizes, dim=1)
        preds = output.reshape(-1, *self._shapes["output"]).float().cpu()
        wanted = target.reshape(-1, *self._shapes["target"]).cpu()
        whole = wanted if bool((wanted != wanted.round()).any()) else wanted.long()
        numbers = self.base.summary(rows)
        for name, metric in self.metrics.items():
            metric.reset()
            metric.update(preds, whole)
            numbers[name] = float(metric.compute())
        first = self.score.name
        return {first: numbers[first], **numbers}

    def by_class(self, judged: Tensor) -> list[float | None]:
        """The task's."""
        return self.base.by_class(judged[:, : max(self._shapes["rows"].numel(), 1)])

    def tally(self, output: Tensor, target: Tensor) -> Tensor | None:
        """The task's, where its own score selects."""
        return self.base.tally(output, target) if self.select is None else None

    def score_of(self, tally: Tensor) -> float:
        """The task's."""
        return self.base.score_of(tally)

    def chance(self, target: Tensor) -> tuple[float, float] | None:
        """The task's, where its own score selects."""
        return self.base.chance(target) if self.select is None else None

    def without_label(self, target: Tensor, chosen: Tensor) -> Tensor:
        """The task's."""
        return self.base.without_label(target, chosen)

    @property
    def no_label(self) -> float:
        """The task's."""
        return self.base.no_label

    @property
    def may_lack_labels(self) -> bool:
        """The task's."""
        return self.base.may_lack_labels

    def partly_labelled(self) -> Task:
        """The task's, with the metrics."""
        return WithMetrics(self.base.partly_labelled(), self.metrics, self.select, self.higher_is_better)
