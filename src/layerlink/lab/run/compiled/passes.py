"""The models of a training that may be compiled, each with the passes that a step makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from layerlink.data import Batch
from layerlink.data.examples import Inputs, copied
from layerlink.lab.run.learning.learner import Learner
from layerlink.lab.run.learning.step import set_time
from layerlink.taps import OUTPUT, Activations, Observed, Tap
from layerlink.taps.modes import evaluating, untouched
from layerlink.teachers import EMATeacher, FrozenTeacher, SeveralTeachers
from layerlink.transfer import Distiller
from layerlink.transfer.pieces import read_of_student, read_of_teacher


@dataclass(frozen=True)
class Passes:
    """A model that may be compiled.

    Args:
        observed: as the training reads it.
        taps: all that may be read.
        ready: brings it into the mode in which it is read.
        ask: makes a pass that reads taps.
    """

    observed: Observed
    taps: tuple[Tap, ...]
    ready: Callable[[], AbstractContextManager[Any]]
    ask: Callable[[tuple[Tap, ...]], Activations]

    def known(self) -> list[Tap]:
        """The taps that an eager pass could read."""
        self.observed.programs = None
        with self.ready():
            given = self.ask(self.taps)
        return [tap for tap in self.taps if tap in given.values]


def passes_of_teachers(learners: Sequence[Learner], batch: Batch) -> Iterator[Passes]:
    """The frozen models that teach, and averages of students."""
    taps = dict.fromkeys(tap for it in learners for tap in _of_teacher(it.distiller))
    taught_by = learners[0].setup.taught_by
    several = taught_by.teachers if isinstance(taught_by, SeveralTeachers) else {"": taught_by}
    for name, teacher in several.items():
        if isinstance(teacher, FrozenTeacher):
            own = tuple(replace(tap, of="") for tap in taps if tap.of == name)
            yield _model_of(teacher, own, batch.inputs)
    for learner in learners:
        if isinstance(learner.distiller.teacher, EMATeacher):
            yield _model_of(learner.distiller.teacher, tuple(taps), batch.images)


def _of_teacher(distiller: Distiller) -> tuple[Tap, ...]:
    """What is read of its teacher at any time of the training."""
    return read_of_teacher(distiller.pieces, distiller.whole_objective.of_teacher)


def _model_of(teacher: FrozenTeacher | EMATeacher, taps: tuple[Tap, ...], inputs: Any) -> Passes:
    @contextmanager
    def ready() -> Iterator[None]:
        with evaluating(teacher.model):
            yield

    return Passes(teacher.observed, taps, ready, lambda asked: teacher(copied(inputs), asked))


def passes_of_students(learner: Learner, batch: Batch) -> Iterator[Passes]:
    """The student, and its peers."""
    everyone = [learner, *learner.peers.values()]
    others = [replace(tap, of="") for it in everyone for tap in _of_teacher(it.distiller)] if learner.peers else []
    for each in everyone:
        distiller, observed = each.distiller, each.distiller.observed
        own = read_of_student(distiller.pieces, distiller.whole_objective.of_student)
        taps = dict.fromkeys((*own, *others))
        there = tuple(tap for tap in taps if tap == OUTPUT or not observed.missing([tap]))

        @contextmanager
        def ready(each: Learner = each) -> Iterator[None]:
            with untouched(each.distiller.student):
                each.distiller.train()
                yield

        def ask(asked: tuple[Tap, ...], each: Learner = each) -> Activations:
            return _read(each, copied(batch.images), asked)

        yield Passes(observed, there, ready, ask)


def _read(learner: Learner, images: Inputs, also: Sequence[Tap] = ()) -> Activations:
    scales = learner.distiller.scales
    try:
        if scales is not None:
            scales.rests = True
        with learner.setup.arithmetic():
            return learner.distiller.study(images, also)
    finally:
        if scales is not None:
            scales.rests = False


def study_for_nothing(learner: Learner, batch: Batch) -> None:
    """A forward and a backward pass of a student and its peers, of which nothing is kept."""
    everyone = [learner, *learner.peers.values()]
    for each in everyone:
        set_time(each.setup, batch)
    for each in everyone:
        others = [tap for it in everyone if it is not each for tap in it.distiller.wanted] if learner.peers else []
        student = each.distiller.student
        with untouched(student):
            each.distiller.train()
            given = _read(each, copied(batch.images), [replace(tap, of="") for tap in others])
            values = [value.float().mean() for value in given.values.values() if value.requires_grad]
            parameters = [it for it in student.parameters() if it.requires_grad]
            if values and parameters:
                torch.autograd.grad(torch.stack(values).sum(), parameters, allow_unused=True)
