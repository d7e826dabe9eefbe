"""When outputs over large vocabularies are compared in pieces, and what is read of both models then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.taps import OUTPUT, Activations, Observed, Tap
from layerlink.taps.classifier import classifier_of
from layerlink.tasks import CausalLM, Task
from layerlink.teachers import FrozenTeacher, Teacher
from layerlink.transfer.cut import Cut, Head
from layerlink.transfer.terms import HardTerm, LinkTerm, SoftTerm, Term


@dataclass(frozen=True)
class Pieces:
    """Compares outputs in pieces.

    Args:
        task: says which token is to be told where.
        student: its head.
        teacher: its head; None where the teacher gives logits, or nothing.
    """

    task: CausalLM
    student: Head
    teacher: Head | None

    def cut(self, student: Activations, taught: Activations | None) -> Cut | None:
        """A batch to be compared in pieces; None where the student's output was read, which is compared as it is."""
        head, hidden = self.teacher, student.values.get(self.student.tap)
        made = taught is not None and OUTPUT not in taught.values and head is not None and head.tap in taught.values
        if hidden is None or OUTPUT in student.values or hidden.ndim != 3:
            if made and taught is not None and head is not None:
                with torch.no_grad(), head.arithmetic():
                    taught.values[OUTPUT] = head.layer(taught.values[head.tap])
            return None
        there = head if made else None
        return Cut(self.task, self.student.layer, _standing_in(student, hidden), _taught(taught, there), there)


def read_of_student(pieces: Pieces | None, taps: Iterable[Tap], also: Iterable[Tap] = ()) -> tuple[Tap, ...]:
    """What is read of the student for terms that read ``taps``; its output itself where somebody else asks for it."""
    asked = tuple(also)
    if pieces is not None and OUTPUT not in asked:
        taps = (pieces.student.tap if tap == OUTPUT else tap for tap in taps)
    return tuple(dict.fromkeys((*taps, *asked)))


def read_of_teacher(pieces: Pieces | None, taps: Iterable[Tap]) -> tuple[Tap, ...]:
    """What is read of the teacher for terms that read ``taps``."""
    if pieces is None or pieces.teacher is None:
        return tuple(taps)
    return tuple(dict.fromkeys(pieces.teacher.tap if tap == OUTPUT else tap for tap in taps))


def _standing_in(given: Activations, hidden: Tensor) -> Activations:
    """What was read, and in the output's place what it is made of: of the same positions."""
    values = {**given.values, OUTPUT: hidden}
    return Activations(None, values, given.problems, given.edges, given.skipped, given.output)


def _taught(taught: Activations | None, head: Head | None) -> Activations | None:
    return taught if taught is None or head is None else _standing_in(taught, taught.values[head.tap])


def head_of(observed: Observed, example: Any) -> Head | None:
    """The head of a model whose logits are just what a linear layer gives; None of any other.

    Args:
        observed: the model.
        example: inputs that it is seen on.
    """
    seen = Observed(observed.model, observed.role, arithmetic=observed.arithmetic, view=observed.view)
    seen.output = observed.output
    try:
        layer = classifier_of(seen, example)
    except UsageError:
        return None
    names = [name for name, it in observed.model.named_modules() if it is layer]
    if type(layer) is not nn.Linear or len(names) != 1:
        return None
    return Head(layer, Tap(names[0], side="input"), observed.arithmetic)


def fits(term: Term) -> bool:
    """Whether a term may be compared in pieces: a mean over single tokens of what both outputs give there."""
    if isinstance(term, HardTerm):
        return term.hard.loss is None and term.hard.tap == OUTPUT
    if isinstance(term, SoftTerm):
        return term.soft.student_tap == OUTPUT and term.soft.teachers is None and not term.soft.teacher_output
    if not isinstance(term, LinkTerm) or OUTPUT not in (*term.of_student, *term.of_teacher):
        return True
    kind, part = term.part.kind, term.part
    alone = term.of_student == term.of_teacher == (OUTPUT,) and not kind.between_images and not part.is_own
    return alone and kind.taps == 1 and not kind.is_module and part.needs == {"mask"} and not part.adapters


def pieces_for(
    terms: Iterable[Term], task: Task, student: Observed, teacher: Teacher | None, example: Any
) -> Pieces | None:
    """How a training compares outputs in pieces; None where it compares them whole.

    It does where the task is that of causal language models, the student is seen to make its logits by a linear layer,
    and every term that reads outputs is a mean over single tokens.

    Args:
        terms: of the whole training.
        task: what outputs mean.
        student: as it is read.
        teacher: what teaches; None where nobody does.
        example: inputs of two examples; None where there are none, and nothing can be seen.
    """
    every = tuple(terms)
    of_output = [term for term in every if OUTPUT in term.of_student]
    if example is None or not of_output or not isinstance(task, CausalLM) or not all(map(fits, every)):
        return None
    own, other, wanted = head_of(student, example), None, {tap: None for term in every for tap in term.of_teacher}
    if own is not None and OUTPUT in wanted and isinstance(teacher, FrozenTeacher):
        other = head_of(teacher.observed, example)
    pieces = None if own is None else Pieces(task, own, other)
    if pieces is not None and other is not None and teacher is not None:
        # A first pass goes to the end, to see what runs how often: on two examples, not on a whole batch.
        teacher(example, read_of_teacher(pieces, wanted))
    return pieces
