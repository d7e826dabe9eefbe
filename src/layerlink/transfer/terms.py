"""The terms of an objective: what each reads of student and teacher, and its raw value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from layerlink.errors import UsageError
from layerlink.losses import Context, ShapeError
from layerlink.losses.outputs.topk_kl import topk_kl, topk_kl_of
from layerlink.taps import Activations, Tap
from layerlink.tasks import Softening, Task
from layerlink.teachers.topk import TopK
from layerlink.transfer.across import Across, share_of
from layerlink.transfer.link import Link
from layerlink.transfer.link_part import LinkPart
from layerlink.transfer.timed import Hard, Soft


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

    def share(self, student: Activations, context: Context, across: Across) -> float:
        """After the call, how much its value here counts in the whole batch's, relative to the images here."""


@dataclass(frozen=True)
class HardTerm:
    """The labels' loss.

    Args:
        hard: with its weight at this time.
        task: says how outputs are compared with labels.
        label_smoothing: as ``Objective``.
    """

    hard: Hard
    task: Task
    label_smoothing: float = 0.0
    name = "hard"
    of_teacher = ()

    @property
    def weight(self) -> float:
        """Its factor."""
        return self.hard.weight

    @property
    def of_student(self) -> tuple[Tap, ...]:
        """The logits, or what else is compared; nothing for a loss that is given all that the student returned."""
        return () if self.hard.tap is None else (self.hard.tap,)

    def __call__(self, student: Activations, teacher: Activations | None, context: Context) -> Tensor:
        """The task's loss, the student's own, or the user's."""
        if self.hard.is_given:
            return _scalar(self.hard, _read(student, self.hard.tap))
        own = self.hard.call
        output = student.output if self.hard.tap is None else _read(student, self.hard.tap)
        if own is not None:
            return _scalar(self.hard, own(output, context.labels))
        labels = as_labels(context.labels)
        if output is None:
            raise UsageError("the hard loss needs the student's logits")
        mask = self.task.positions(output, labels, context.mask)
        return self.task.hard(output, labels, mask=mask, label_smoothing=self.label_smoothing)

    def share(self, student: Activations, context: Context, across: Across) -> float:
        """By the positions that have a label; a loss of the user's own by its images."""
        if self.hard.loss is not None or context.labels is None:
            return 1.0
        output = _read(student, self.hard.tap)
        assert output is not None  # noqa: S101 - it has been compared
        mask = self.task.positions(output, context.labels, context.mask)
        return share_of(self.task.counted(output, context.labels, mask), across)


@dataclass(frozen=True)
class SoftTerm:
    """The loss between the softened outputs of both.

    Args:
        soft: with its weight at this time.
        task: says how they are compared.
    """

    soft: Soft
    task: Task
    name = "soft"

    @property
    def weight(self) -> float:
        """Alpha."""
        return self.soft.weight

    @property
    def of_teacher(self) -> tuple[Tap, ...]:
        """Its output, or that of each of several."""
        return self.soft.teacher_taps

    @property
    def of_student(self) -> tuple[Tap, ...]:
        """Its output."""
        return (self.soft.student_tap,)

    def __call__(self, student: Activations, teacher: Activations | None, context: Context) -> Tensor:
        """As the task compares them."""
        learnt = _read(student, self.soft.student_tap)
        taught = [] if teacher is None else [_read(teacher, tap) for tap in self.soft.teacher_taps]
        given = [value for value in taught if value is not None]
        if learnt is None or not given or len(given) < len(taught):
            raise UsageError(_not_given(self.soft.top, teacher))
        mask = self._mask(learnt, context)
        if self.soft.top is not None:
            return topk_kl_of(learnt, *self.soft.top.unpack(given[0]), mask=mask, **self._softened)
        compared = given[0] if self.soft.teachers is None else self._averaged(given)
        if self.soft.topk is not None:
            return topk_kl(learnt, compared, mask=mask, k=self.soft.topk, **self._softened)
        try:
            return self.task.soft(learnt, compared, Softening(**self._softened, form=self.soft.form), mask)
        except ShapeError as error:
            if learnt.shape == compared.shape:
                raise
            raise ShapeError(
                f"{error}. Outputs of other classes are not compared: link layers in place of soft; of other "
                "vocabularies the link '@output : uld', or a teacher that cuts its output to the student's"
            ) from None

    @property
    def _softened(self) -> dict[str, Any]:
        return {"temperature": self.soft.temperature, "t_squared": self.soft.t_squared}

    def _averaged(self, outputs: list[Tensor]) -> Tensor:
        """One output for those of several teachers.

        Raises:
            UsageError: where they are of other classes.
        """
        weights = self.soft.teachers or {}
        shapes = [tuple(output.shape) for output in outputs]
        if len(set(shapes)) > 1:
            told = ", ".join(f"{name} {shape}" for name, shape in zip(weights, shapes, strict=True))
            raise UsageError(f"soft: the teachers give outputs of different shapes, which cannot be averaged: {told}")
        whole = sum(weights.values())
        shares = [weight / whole for weight in weights.values()]
        if self.soft.average == "logits":
            return sum((share * output for share, output in zip(shares, outputs, strict=True)), torch.zeros(()))
        return self.task.averaged(outputs, shares, self.soft.temperature)

    def share(self, student: Activations, context: Context, across: Across) -> float:
        """By the positions that count."""
        learnt = _read(student, self.soft.student_tap)
        assert learnt is not None  # noqa: S101 - it has been compared
        mask = self._mask(learnt, context)
        return share_of(None if mask is None else mask.sum(), across)

    def _mask(self, learnt: Tensor, context: Context) -> Tensor | None:
        labels = context.labels if isinstance(context.labels, Tensor) else None
        return self.task.positions(learnt, labels, context.mask)


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

    def share(self, student: Activations, context: Context, across: Across) -> float:
        """As the part found it."""
        return self.part.share


def _not_given(top: TopK | None, teacher: Activations | None) -> str:
    """Why there is nothing to compare with."""
    others = [] if teacher is None else [it for tap in teacher.values if (it := TopK.of(tap)) is not None]
    if top is not None and others:
        return (
            f"soft needs the {top} and the teacher gives the {', '.join(map(str, others))}: what is kept of it holds "
            "for one temperature and number of classes. Set soft to these, or store it again"
        )
    return "the soft loss needs the logits of both models"


def as_labels(labels: Any) -> Tensor:
    """Labels as a task's own loss takes them.

    Raises:
        UsageError: where they are no tensor.
    """
    if labels is None:
        raise UsageError(
            "the hard loss needs labels: pass them as target, distiller(inputs, labels), or set hard=0; of a model "
            "that has labels among its inputs and computes its own loss, hard='@output[loss]'"
        )
    if not isinstance(labels, Tensor):
        raise UsageError(
            f"the hard loss needs a tensor of labels; got {type(labels).__name__}. Convert them: "
            "torch.as_tensor(labels). Labels of two mixed images are probabilities (N, C); a hard loss of your own, "
            "hard=function of (output, target), gets whatever is passed"
        )
    return labels


def _all(values: dict[Tap, Tensor], taps: Iterable[Tap]) -> tuple[Tensor, ...]:
    return tuple(values[tap] for tap in taps)


def _read(given: Activations, tap: Tap | None) -> Tensor | None:
    """What was read at a tap of the output; None where nobody asked for it.

    Raises:
        UsageError: where it was asked for and is not there.
    """
    if tap is None:
        return None
    if tap in given.problems:
        raise UsageError(given.problems[tap])
    return given.values.get(tap)


def _scalar(hard: Hard, loss: Any) -> Tensor:
    """A loss that layerlink did not compute itself.

    Raises:
        UsageError: where it is no loss.
    """
    name = hard.loss if isinstance(hard.loss, str) else getattr(hard.loss, "__name__", type(hard.loss).__name__)
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
        got = f"{loss.dtype} {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise UsageError(f"hard loss {name} must give a single floating-point number with a gradient; got {got}")
    return loss.reshape(())
