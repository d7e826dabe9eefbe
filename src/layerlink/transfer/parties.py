"""Who teaches whom in a distiller, looked at before there is an optimiser; and which layers a pass left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from layerlink.errors import UsageError, unknown_name
from layerlink.taps import OUTPUT, Activations, Observed, Tap
from layerlink.taps.lazy import fill_lazy_layers
from layerlink.taps.modes import evaluating
from layerlink.taps.randomness import kept
from layerlink.tasks import Task
from layerlink.teachers import EMATeacher, SeveralTeachers, Teacher, as_teacher
from layerlink.teachers.teacher import CalledTeacher
from layerlink.teachers.untouched import UntouchedTeacher
from layerlink.transfer.link import Link
from layerlink.transfer.link_part import LinkPart
from layerlink.transfer.timed import Soft


def as_given(teacher: Any) -> Any:
    """What a user gave as the teacher; several are a mapping by name."""
    if isinstance(teacher, SeveralTeachers):
        return teacher.teachers
    return dict(teacher.items()) if isinstance(teacher, nn.ModuleDict) else teacher


def as_taught(given: Any, wanted: Iterable[Tap]) -> Activations | None:
    """What a teacher said of a batch, which was run here or elsewhere; its output alone is one way to say it."""
    if given is None:
        return None
    known = given if isinstance(given, Activations) else CalledTeacher(lambda _: given)(None, wanted)
    return known.fixed()


def as_looked_at(teacher: Any, output: str, head: str = "") -> Observed | Teacher | None:
    """What is looked at before the training: a model as its teacher reads it, several by name."""
    if teacher is None:
        return None
    if isinstance(teacher, Mapping):
        return SeveralTeachers({name: UntouchedTeacher(it, output, head) for name, it in teacher.items()})
    return UntouchedTeacher(teacher, output, head).observed or as_teacher(teacher, output=output)


def missing_taps(
    links: Mapping[int, Link], teacher: Observed | Teacher | None, student: Observed
) -> Iterator[tuple[int, str]]:
    """Every layer that a model does not have, by the link's place."""
    for index, link in links.items():
        of_teacher: dict[Tap, str] = {}
        if isinstance(teacher, Observed):
            of_teacher = teacher.missing(link.teacher_taps)
        elif isinstance(teacher, SeveralTeachers):
            looked = teacher.teachers[link.which]
            plain = [replace(tap, of="") for tap in link.teacher_taps]
            of_teacher = looked.missing(plain) if isinstance(looked, UntouchedTeacher) else {}
        for reason in (*of_teacher.values(), *student.missing(link.student_taps).values()):
            yield index, reason


def without_labels(parts: Mapping[int, LinkPart], task: Task) -> Iterator[tuple[int, str]]:
    """Every link whose loss asks for labels that some examples do not have, by its place."""
    for index, part in parts.items():
        if "labels" in part.needs and task.may_lack_labels:
            what = "the label of every example, and some have none here: take another loss, or label all"
            yield index, f"{part.name} needs {what}"


def of_teachers(soft: Soft, names: tuple[str, ...]) -> Soft:
    """The soft loss with the weight of every teacher that it averages.

    Raises:
        UsageError: where it names teachers that are not there.
    """
    wrong = [name for name in soft.teachers or () if name not in names]
    if wrong:
        what = unknown_name("teacher", wrong[0], names) if names else "there is one teacher, which has no name"
        raise UsageError(f"soft: teachers: {what}")
    return replace(soft, teachers=dict.fromkeys(names, 1.0)) if names and soft.teachers is None else soft


def averages_among(teacher: Teacher | None, student: nn.Module | None = None) -> list[EMATeacher]:
    """The teachers that follow the student: what they have become is a part of its training.

    Raises:
        UsageError: where one was made of another model than the student, which is looked at where it is given.
    """
    every: Iterable[Any] = teacher.teachers.values() if isinstance(teacher, SeveralTeachers) else (teacher,)
    found = [it for it in every if isinstance(it, EMATeacher)]
    if student is not None and any(_shapes(average.average) != _shapes(student) for average in found):
        raise UsageError("an EMATeacher was made of another model than the student: make it of this one")
    return found


def _shapes(model: nn.Module) -> list[Any]:
    """Of all that an average follows, in its order: names differ where a student is wrapped. Lazy ones come later."""
    return [None if is_lazy(value) else value.shape for value in (*model.parameters(), *model.buffers())]


def fill_from_example(student: nn.Module, example: Any) -> None:
    """Let a student's lazy layers take their shapes, before there is an optimiser.

    Raises:
        UsageError: where there is no example.
    """
    if example is None:
        raise UsageError(
            "the student has lazy layers, whose weights are made in their first pass: pass example=inputs of two "
            "examples, so that they are there before the optimiser"
        )
    fill_lazy_layers(student, example, "student")


def check_models(teachers: Iterable[nn.Module], student: Any) -> bool:
    """Whether teacher and student share parameters, which are frozen in both: a base that adapters extend.

    Raises:
        UsageError: where the student is none, has nothing to train, or shares what it trains with the teacher, or a
            model has no values.
    """
    if not isinstance(student, nn.Module):
        what = f"the class {student.__name__}: call it" if isinstance(student, type) else type(student).__name__
        raise UsageError(f"the student must be a torch.nn.Module; got {what}")
    teachers = tuple(teachers)
    for role, models in (("teacher", teachers), ("student", (student,))):
        if any(parameter.is_meta for model in models for parameter in model.parameters()):
            raise UsageError(
                f"the {role}'s weights are on the device meta, which holds no values: model.to_empty(device='cpu'), "
                "then load its weights"
            )
    own = dict(student.named_parameters())
    frozen = {id(parameter) for model in teachers for parameter in model.parameters()}
    shared = [name for name, parameter in own.items() if id(parameter) in frozen]
    nothing_to_train = bool(own) and not any(parameter.requires_grad for parameter in own.values())
    if shared and (nothing_to_train or any(own[name].requires_grad for name in shared)):
        raise UsageError(
            f"teacher and student share {len(shared)} parameters, such as {shared[0]}; freezing the teacher would "
            "freeze them in the student. Pass copy.deepcopy(model) as the teacher; where the student is the teacher "
            "with adapters, freeze what they share first"
        )
    if nothing_to_train:
        raise UsageError("the student has no parameter to train: every one is frozen")
    return bool(shared)


def read_skipped(student: Observed, inputs: Any, wanted: Iterable[Tap], given: Activations) -> None:
    """See which taps that were not read are of layers that a training leaves out at random; ``given`` tells it then."""
    unread = [tap for tap in wanted if tap in given.problems and tap != OUTPUT]
    if unread and student.model.training:
        # A layer that is left out at random may be so in the very first pass; in eval mode all of them run.
        # Nothing is put back in place: the pass before is still to be gone back through.
        with evaluating(student.model), kept():
            there = student.read(inputs, unread).values
        given.skipped |= there.keys()
        given.problems = {tap: reason for tap, reason in given.problems.items() if tap not in there}
