"""What a term of the objective is set to: its weight, its time, what it compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from torch import Tensor

from layerlink.errors import UsageError
from layerlink.taps import OUTPUT, Tap
from layerlink.teachers.topk import TopK
from layerlink.transfer.schedule import Decay, Schedule, is_number
from layerlink.user_code import named

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
        loss: None for the task's own. A callable ``(output, target) -> Tensor``, or ``package.module:name`` of one, is
            given what the student returned, or the tensor at ``output``, and the target as it was passed. A text such
            as ``"@output[loss]"`` takes what the student computed itself.
        output: the element of the student's output that labels are compared with, such as ``"[0]"``; empty for its
            logits.
        start, until, warmup, decay: as in ``Timed``.

    Raises:
        UsageError: for impossible values.
    """

    weight: float = 1.0
    loss: Callable[[Any, Any], Tensor] | str | None = None
    output: str = ""

    def __post_init__(self) -> None:
        check_weight("hard", self.weight)
        self.schedule.check("hard: ")
        if isinstance(self.loss, str) and not (self.loss.startswith("@output[") or ":" in self.loss):
            raise UsageError(f"hard as a text is '@output[NAME]' or package.module:name; got {self.loss!r}")
        if not (self.loss is None or isinstance(self.loss, str) or callable(self.loss)):
            raise UsageError(f"hard: loss must be a callable (output, target) or a text; got {self.loss!r}")
        _ = self.tap  # checked

    @classmethod
    def of(cls, given: Any) -> Hard:
        """What a weight, a callable, a text or a ``Hard`` stands for.

        Raises:
            UsageError: where it is none of them.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, str) or callable(given):
            return cls(loss=given)
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise UsageError(
                "hard is a weight >= 0 (0 leaves the labels out), layerlink.Hard(weight=..., loss=...), a callable "
                f"(output, target) or a text; got {given!r}"
            )
        return cls(given)

    @property
    def tap(self) -> Tap | None:
        """What of the student it reads; None for all that the student returned."""
        if isinstance(self.loss, str) and self.loss.startswith("@output["):
            return _output_tap("hard: loss", self.loss)
        if self.output:
            return _output_tap("hard: output", self.output)
        return OUTPUT if self.loss is None else None

    @property
    def is_given(self) -> bool:
        """Whether the student computes it itself."""
        return isinstance(self.loss, str) and self.loss.startswith("@output[")

    @cached_property
    def call(self) -> Callable[[Any, Any], Tensor] | None:
        """A loss of the user's own.

        Raises:
            UsageError: where it cannot be imported.
        """
        if isinstance(self.loss, str):
            return None if self.is_given else named(self.loss, "hard loss")
        return self.loss


@dataclass(frozen=True)
class Soft(Timed):
    """The loss between softened outputs, as the task compares them.

    In classification it is short for the link ``@output : kd(temperature=T) * WEIGHT``.

    Args:
        temperature: T, 0.01 to 1000, the divisor of the logits before the softmax.
        weight: alpha >= 0.
        t_squared: multiply by T^2, as Hinton et al. 2015 do.
        form: "kl" is 0 for equal outputs; "cross-entropy" has the same gradient and keeps the teacher's entropy.
        output: the element of the student's output that is compared, such as ``"[1]"`` of a head of its own for the
            teacher; empty for its logits.
        teacher_output: the same of the teacher's output.
        teachers: where there are several, the weight of each by name, > 0; None: all count alike.
        average: of several, "probabilities" that are softened, or their "logits".
        topk: k of the loss ``topk_kl``: the teacher's k likeliest classes are compared, and all others as one.
        stored: the teacher gives these alone, as a store keeps them; see ``layerlink.teachers.topk.TopK``.
        start, until, warmup, decay: as in ``Timed``.

    Raises:
        UsageError: for impossible values.
    """

    temperature: float = 4.0
    weight: float = 1.0
    t_squared: bool = True
    form: Literal["kl", "cross-entropy"] = "kl"
    output: str = ""
    teacher_output: str = ""
    teachers: Mapping[str, float] | None = None
    average: Literal["probabilities", "logits"] = "probabilities"
    topk: int | None = None
    stored: bool = False

    def __post_init__(self) -> None:
        if not LOWEST_T <= self.temperature <= HIGHEST_T:
            raise UsageError(f"soft: temperature must lie in {LOWEST_T:g}..{HIGHEST_T:g}; got {self.temperature}")
        check_weight("soft: weight", self.weight)
        if self.form not in ("kl", "cross-entropy"):
            raise UsageError(f"soft: form must be 'kl' or 'cross-entropy'; got {self.form!r}")
        self.schedule.check("soft: ")
        if self.teachers is not None and not (
            self.teachers and all(is_number(weight) and weight > 0 for weight in self.teachers.values())
        ):
            raise UsageError(f"soft: teachers must be weights > 0 by name; got {dict(self.teachers)}")
        if self.average not in ("probabilities", "logits"):
            raise UsageError(f"soft: average must be 'probabilities' or 'logits'; got {self.average!r}")
        if self.topk is not None and (type(self.topk) is not int or self.topk < 1 or self.form != "kl"):
            raise UsageError(
                f"soft: topk must be a whole number >= 1, with form kl; got {self.topk!r} with {self.form}"
            )
        if self.stored and (self.topk is None or self.teachers is not None or self.teacher_output):
            raise UsageError("soft: stored is of the topk of one teacher's logits")
        _ = self.student_tap, self.teacher_taps  # checked

    @property
    def student_tap(self) -> Tap:
        """What it reads of the student."""
        return _output_tap("soft: output", self.output) if self.output else OUTPUT

    @property
    def top(self) -> TopK | None:
        """What a store keeps for it; None where the teacher gives its output."""
        return TopK(self.topk, self.temperature) if self.stored and self.topk is not None else None

    @property
    def teacher_taps(self) -> tuple[Tap, ...]:
        """What it reads of the teacher, or of each of several."""
        if self.top is not None:
            return (self.top.tap,)
        tap = _output_tap("soft: teacher_output", self.teacher_output) if self.teacher_output else OUTPUT
        return (tap,) if self.teachers is None else tuple(replace(tap, of=name) for name in self.teachers)


def check_weight(name: str, value: float) -> None:
    """Raise ``UsageError`` unless ``value`` is a finite number >= 0."""
    if not (is_number(value) and value >= 0):
        raise UsageError(f"{name} must be a finite number >= 0; got {value!r}")


def _output_tap(what: str, text: str) -> Tap:
    """``"@output[loss]"``, ``"[0]"`` or ``"loss"`` as an element of the model's output."""
    inner = text.removeprefix("@output").strip()
    try:
        tap = Tap.parse(f"x{inner if inner.startswith('[') else f'[{inner}]'}")
    except UsageError:
        raise UsageError(
            f"{what} must name an element of the output, such as '@output[loss]' or '[0]'; got {text!r}"
        ) from None
    return Tap("", element=tap.element)
