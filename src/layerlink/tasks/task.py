"""What a task is: what outputs mean, which positions count, how well they are, and what chance is."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Size, Tensor

from layerlink.errors import UsageError
from layerlink.losses.shapes import at_least_float32
from layerlink.printable import one_line

CHANCE_SPREADS = 2.0  # standard deviations from chance that still count as chance


@dataclass(frozen=True)
class Softening:
    """How softened outputs are compared.

    Args:
        temperature: T > 0, the divisor of both.
        t_squared: multiply by T^2.
        form: "kl", or "cross-entropy", which keeps the teacher's entropy.
    """

    temperature: float
    t_squared: bool = True
    form: Literal["kl", "cross-entropy"] = "kl"


@dataclass(frozen=True)
class Score:
    """A number that says how well a model does.

    Args:
        name: in result files, as ``test_NAME`` and ``validation_NAME``.
        words: in sentences and tables.
        unit: after the number; "%" or nothing.
        higher_is_better: whether more is better.
        digits: behind the point, where it is shown.
    """

    name: str
    words: str
    unit: str = "%"
    higher_is_better: bool = True
    digits: int = 2

    def show(self, value: float, digits: int | None = None) -> str:
        """The number with its unit.

        >>> Score("accuracy", "accuracy").show(77.125)
        '77.12 %'
        """
        places = self.digits if digits is None else digits
        return f"{value:,.{places}f}{' ' + self.unit if self.unit else ''}"

    def is_better(self, value: float, other: float) -> bool:
        """Whether one value is better than another; of equal ones none is."""
        return value > other if self.higher_is_better else value < other

    @property
    def worst(self) -> float:
        """Worse than every value."""
        return float("-inf") if self.higher_is_better else float("inf")

    def facts(self) -> dict[str, Any]:
        """For result files."""
        return asdict(self)

    @classmethod
    def of(cls, facts: Any) -> Score:
        """The score that ``facts`` tells of; accuracy where there are none.

        Raises:
            ValueError: where they are those of no score.
        """
        if facts is None:
            return ACCURACY
        kinds = {"name": str, "words": str, "unit": str, "higher_is_better": bool, "digits": int}
        if not isinstance(facts, dict) or any(type(facts.get(name)) is not kind for name, kind in kinds.items()):
            raise ValueError(f"a score has {', '.join(kinds)}; got {facts!r}")
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", facts["name"]) or not 0 <= facts["digits"] <= 9:
            raise ValueError(f"a score's name is a word, and it has up to 9 digits; got {facts!r}")
        if any(one_line(facts[name]) != facts[name] or len(facts[name]) > 60 for name in ("words", "unit")):
            raise ValueError(f"a score's words and unit are up to 60 letters on one line; got {facts!r}")
        return cls(**{name: facts[name] for name in kinds})


ACCURACY = Score("accuracy", "accuracy")


class Task(ABC):
    """What a student's outputs mean.

    A task of one's own is a subclass: it says how outputs are compared with targets (``hard``), and, for runs from
    recipes, what is to be known of every example (``judge``) and what follows of them together (``summary``).
    """

    name: ClassVar[str]
    score: ClassVar[Score]  # by which epochs are kept, rows are compared and searches choose
    has_classes: ClassVar[bool] = True  # whether the output has a column a class
    one_class: ClassVar[bool] = False  # whether every example is of one class, and the answer says which
    ignore: int | None = None  # the label of positions that do not count

    def problems(self, output: Size, classes: int) -> list[str]:
        """Why an output cannot be of this task, in sentences.

        Args:
            output: its shape.
            classes: how many the data has.
        """
        return []

    def target_problems(self, target: Tensor, classes: int) -> list[str]:
        """Why targets cannot be of this task, in sentences.

        Args:
            target: of a whole data set, (N, ...).
            classes: how many it has.
        """
        return []

    def positions(self, output: Tensor, target: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """Which positions of the output count, for the labels' loss and for softened outputs.

        Args:
            output: the student's.
            target: None where there is none.
            mask: the caller's, true where a position counts.

        Returns:
            Bool of the output's shape without its classes; None where all count.
        """
        return mask if mask is not None and mask.shape == output.shape[:1] else None

    @abstractmethod
    def hard(
        self, output: Tensor, target: Tensor, *, mask: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        """The labels' loss, a scalar.

        Args:
            output: the student's.
            target: as this task has it.
            mask: as ``positions`` gives it.
            label_smoothing: share of the target spread over all classes.

        Raises:
            UsageError: where they do not fit (``ShapeError``), or the task has no such smoothing.
        """

    def counted(self, output: Tensor, target: Tensor, mask: Tensor | None) -> Tensor | None:
        """How many targets the labels' loss is the mean over, where that is not a fixed number an example.

        Several processes weigh their parts of a batch by it.
        """
        return None if mask is None else mask.sum()

    def soft(self, student: Tensor, teacher: Tensor, how: Softening, mask: Tensor | None = None) -> Tensor:
        """How far the student's softened output is from the teacher's, a scalar.

        Args:
            student: its output.
            teacher: the same shape.
            how: temperature and form.
            mask: as ``positions`` gives it.

        Raises:
            ShapeError: where the two are no such outputs, or differ in shape.
        """
        raise NotImplementedError(f"{type(self).__name__} says nothing of softened outputs: define soft()")

    def averaged(self, outputs: Sequence[Tensor], shares: Sequence[float], temperature: float) -> Tensor:
        """One output whose softened probabilities are the mean of several teachers'.

        Args:
            outputs: of one shape, (N, C), (N, L, C) or (N, C, H, W).
            shares: of each, adding up to 1.
            temperature: T at which they are averaged.
        """
        axis = 1 if outputs[0].ndim in (2, 4) else outputs[0].ndim - 1
        logs = [
            (at_least_float32(output) / temperature).log_softmax(axis) + math.log(share)
            for output, share in zip(outputs, shares, strict=True)
        ]
        return temperature * torch.stack(logs).logsumexp(0)

    def answers(self, output: Tensor) -> Tensor | None:
        """What the output says, (n, ...) of integers to be compared for equality; None where nothing can be."""
        return None

    def told(self, output: Tensor, classes: Sequence[str]) -> list[dict[str, str | float]]:
        """What the output says of each example, in words and numbers.

        Args:
            output: (n, ...).
            classes: the names of classes, labels or numbers, in the order of the outputs.

        Returns:
            A row an example, all with the same names.

        Raises:
            UsageError: where the task has no such words.
        """
        raise UsageError(f"the task {self.name} says nothing of its answers in words: call the model itself")

    def judge(self, output: Tensor, target: Tensor) -> Tensor:
        """What is to be known of every example: (n, K) float64, as ``summary`` takes it."""
        raise NotImplementedError(f"{type(self).__name__} says nothing of how well outputs are: define judge()")

    def summary(self, judged: Tensor) -> dict[str, float]:
        """Numbers of a data set, ``score.name`` first.

        Args:
            judged: (N, K), of every example what ``judge`` gave.
        """
        raise NotImplementedError(f"{type(self).__name__} says nothing of how well outputs are: define summary()")

    def by_class(self, judged: Tensor) -> list[float | None]:
        """The score of each class alone, in their order; None where a class was neither true nor answered.

        Args:
            judged: (N, K), of every example what ``judge`` gave.

        Returns:
            Empty where the task has no such numbers.
        """
        return []

    def tally(self, output: Tensor, target: Tensor) -> Tensor | None:
        """Of a training batch a few numbers (K,) that can be added up, for ``score_of``; None where none can."""
        return None

    def score_of(self, tally: Tensor) -> float:
        """The score of added tallies; NaN where they are of nothing."""
        raise NotImplementedError

    def chance(self, target: Tensor) -> tuple[float, float] | None:
        """What is reached without looking at inputs: the score and its standard deviation; None where unknown."""
        return None

    def chance_met(self, value: float, target: Tensor) -> float | None:
        """The score of chance, where a score is no better than it and two of its standard deviations; None elsewhere.

        Args:
            value: the score.
            target: that it was read on.
        """
        found = self.chance(target)
        if found is None:
            return None
        chance, margin = found[0], CHANCE_SPREADS * found[1]
        perfect = 100.0 if self.score.unit == "%" else -self.score.worst
        limit = chance + margin if self.score.higher_is_better else chance - margin
        told_apart = self.score.is_better(value, limit) or not self.score.is_better(perfect, chance)
        return None if told_apart else chance

    def without_label(self, target: Tensor, chosen: Tensor) -> Tensor:
        """Targets of which all but the chosen ones are marked as not known.

        Args:
            target: (N, ...).
            chosen: (N,) bool.
        """
        kept = chosen.view(-1, *(1 for _ in target.shape[1:]))
        return torch.where(kept, target, torch.full_like(target, self.no_label))

    @property
    def no_label(self) -> float:
        """What stands in a target where none is known."""
        return -1

    @property
    def may_lack_labels(self) -> bool:
        """Whether some targets may be ``no_label``."""
        return getattr(self, "unlabelled", None) is not None

    @abstractmethod
    def partly_labelled(self) -> Task:
        """This task for targets of which some are ``no_label``: the labels' loss leaves them out."""
