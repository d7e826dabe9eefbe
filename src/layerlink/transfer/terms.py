"""The terms of an objective: what each reads of student and teacher, and its raw value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses import Context, hard_cross_entropy, soft_cross_entropy
from layerlink.taps import OUTPUT, Activations, Tap
from layerlink.transfer.link import Link
from layerlink.transfer.link_part import LinkPart
from layerlink.transfer.schedule import Decay, Schedule, is_number

# Below, logits / T leaves float32; above, the rounding of its logarithms, times T^2, is all that is left of the loss.
LOWEST_T, HIGHEST_T = 0.01, 1000.0


@dataclass(frozen=True)
class Timed:
    """A term that may begin later than the training, rise, fade and end.

    Args:
        start: it begins after so many epochs ("from" in a recipe).
        until: it ends after so many epochs; None: with the training.
        warmup: its weight rises from 0 for so many epochs.
        decay: "linear" lets the weight fall to 0 at its end.
    """

    start: float = field(default=0.0, kw_only=True)
    until: float | None = field(default=None, kw_only=True)
    warmup: float = field(default=0.0, kw_only=True)
    decay: Decay = field(default="none", kw_only=True)

    @property
    def schedule(self) -> Schedule:
        """From when until when it counts."""
        return Schedule(self.start, self.until, self.warmup, self.decay)


@dataclass(frozen=True)
class Hard(Timed):
    """The labels' loss and its time.

    Args:
        weight: >= 0; 0 leaves it out.
        start, until, warmup, decay: as in ``Timed``.

    Raises:
        UsageError: for impossible values.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weight("hard", self.weight)
        self.schedule.check("hard: ")


@dataclass(frozen=True)
class Soft(Timed):
    """The loss between softened outputs: short for the link ``@output : kd(temperature=T) * WEIGHT``.

    Args:
        temperature: T, 0.01 to 1000, the divisor of the logits before the softmax.
        weight: alpha >= 0.
        t_squared: multiply by T^2, as Hinton et al. 2015 do.
        form: "kl" is 0 for equal outputs; "cross-entropy" has the same gradient and keeps the teacher's entropy.
        start, until, warmup, decay: as in ``Timed``.

    Raises:
        UsageError: for impossible values.
    """

    temperature: float = 4.0
    weight: float = 1.0
    t_squared: bool = True
    form: Literal["kl", "cross-entropy"] = "kl"

    def __post_init__(self) -> None:
        if not LOWEST_T <= self.temperature <= HIGHEST_T:
            raise UsageError(f"soft: temperature must lie in {LOWEST_T:g}..{HIGHEST_T:g}; got {self.temperature}")
        check_weight("soft: weight", self.weight)
        if self.form not in ("kl", "cross-entropy"):
            raise UsageError(f"soft: form must be 'kl' or 'cross-entropy'; got {self.form!r}")
        self.schedule.check("soft: ")


class Term(Protocol):
    """One summand of the objective."""

    @property
    def name(self) -> str:
        """Under which it is logged."""

    @property
    def weight(self) -> float:
        """Its factor."""

    @property
    def of_teacher(self) -> tuple[Tap, ...]:
        """What it reads of the teacher."""

    @property
    def of_student(self) -> tuple[Tap, ...]:
        """What it reads of the student."""

    def __call__(self, student: Activations, teacher: Activations | None, context: Context) -> Tensor:
        """Its raw value, a scalar."""


@dataclass(frozen=True)
class HardTerm:
    """The labels' loss."""

    weight: float
    label_smoothing: float = 0.0
    name = "hard"
    of_teacher = ()
    of_student = (OUTPUT,)

    def __call__(self, student: Activations, teacher: Activations | None, context: Context) -> Tensor:
        """Cross-entropy with the labels."""
        logits = _output(student)
        if logits is None or context.labels is None:
            raise UsageError("the hard loss needs labels: pass them as target, or set hard=0")
        return hard_cross_entropy(logits, context.labels, label_smoothing=self.label_smoothing)


@dataclass(frozen=True)
class SoftTerm:
    """The loss between the softened outputs of both."""

    soft: Soft
    name = "soft"
    of_teacher = (OUTPUT,)
    of_student = (OUTPUT,)

    @property
    def weight(self) -> float:
        """Alpha."""
        return self.soft.weight

    def __call__(self, student: Activations, teacher: Activations | None, context: Context) -> Tensor:
        """As ``soft_cross_entropy``."""
        learnt, taught = _output(student), None if teacher is None else _output(teacher)
        if learnt is None or taught is None:
            raise UsageError("the soft loss needs the logits of both models")
        soft = self.soft
        return soft_cross_entropy(
            learnt, taught, temperature=soft.temperature, t_squared=soft.t_squared, entropy=soft.form == "kl"
        )


@dataclass(frozen=True)
class LinkTerm:
    """The loss between linked layers.

    Args:
        link: with its weight at this time.
        part: what computes it.
    """

    link: Link
    part: LinkPart = field(compare=False)

    @cached_property
    def name(self) -> str:
        """The link's text."""
        return self.link.text

    @property
    def weight(self) -> float:
        """Beta."""
        return self.link.weight

    @property
    def of_teacher(self) -> tuple[Tap, ...]:
        """The link's teacher taps."""
        return self.link.teacher_taps

    @property
    def of_student(self) -> tuple[Tap, ...]:
        """The link's student taps."""
        return self.link.student_taps

    def __call__(self, student: Activations, teacher: Activations | None, context: Context) -> Tensor:
        """The link's loss.

        Raises:
            KeyError: where a tap was not read.
            ShapeError: where the two cannot be compared.
        """
        taught = {} if teacher is None else teacher.values
        loss: Tensor = self.part(_all(student.values, self.of_student), _all(taught, self.of_teacher), context)
        return loss


def _all(values: dict[Tap, Tensor], taps: Iterable[Tap]) -> tuple[Tensor, ...]:
    return tuple(values[tap] for tap in taps)


def _output(given: Activations) -> Tensor | None:
    """The logits; None where nobody asked for them.

    Raises:
        UsageError: where they were asked for and are not there.
    """
    if OUTPUT in given.problems:
        raise UsageError(given.problems[OUTPUT])
    return given.values.get(OUTPUT)


def check_weight(name: str, value: float) -> None:
    """Raise ``UsageError`` unless ``value`` is a finite number >= 0."""
    if not (is_number(value) and value >= 0):
        raise UsageError(f"{name} must be a finite number >= 0; got {value!r}")
