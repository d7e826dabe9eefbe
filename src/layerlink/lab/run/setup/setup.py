"""From a recipe to what is trained: images, models, distiller; everything that does not fit is told at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from layerlink.data import Batches
from layerlink.data.examples import Inputs
from layerlink.errors import Problem, UsageError
from layerlink.lab.parallel.processes import here
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.peers import STUDENT
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.setup.beginning import begin
from layerlink.lab.run.setup.checking import Checked, check_on_batch, facts_of
from layerlink.lab.run.setup.fast_paths import keep_cast_weights, make_fast
from layerlink.lab.run.setup.images import Images, load_images
from layerlink.lab.run.setup.machine import choose_device, choose_precision, graph_problems, process_problems
from layerlink.lab.run.setup.memory_format import keep_rows_together
from layerlink.lab.run.setup.mixing import mixing_problems
from layerlink.lab.run.setup.models import build_role
from layerlink.lab.run.setup.teachers import (
    TaughtBy,
    build_teachers,
    seen_by_teacher,
    soft_of,
    taught_by,
    teacher_warnings,
)
from layerlink.losses import loss_kind
from layerlink.taps import Observed
from layerlink.taps.observed import Precision, arithmetic
from layerlink.taps.randomness import seeded
from layerlink.tasks import CausalLM, Classification, Task
from layerlink.teachers import EMATeacher, FrozenTeacher, SeveralTeachers, Teacher
from layerlink.transfer import Distiller, LinkReport
from layerlink.transfer.inspection import HEADS
from layerlink.transfer.link_part import needs_shapes


@dataclass(frozen=True)
class Setup:
    """Everything a run needs, checked.

    Args:
        loaded: the recipe.
        images: train, validation and test.
        distiller: teacher, student and objective, on the device.
        taught_by: the distiller's teacher; None where labels alone teach, or peers.
        links: what one batch showed of every link.
        device: where everything is.
        precision: of the arithmetic.
        warnings: what is possible but hardly meant.
        notes: what was taken off the names in files of weights.
        task: what outputs mean.
        teacher_answers: whether the teacher's output is of the task, so that it can be judged.
        peers: by name what is trained beside it, each with a distiller of its own, which learns from all others.
    """

    loaded: LoadedRecipe
    images: Images
    distiller: Distiller
    taught_by: TaughtBy | None
    links: list[LinkReport]
    device: torch.device
    precision: Precision
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    task: Task = field(default_factory=Classification)
    teacher_answers: bool = True
    peers: Mapping[str, Setup] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.loaded.recipe

    @property
    def batches(self) -> Batches:
        """The training batches; of each this process's part, where several train together."""
        part = (here().rank, here().size)
        training, data = self.recipe.training, self.recipe.data
        sizes = tuple(size for size in self.recipe.teacher_sizes if size != data.image_size)
        return Batches(
            self.images.train,
            self.images.views,
            training.batch_size,
            self.recipe.seed,
            part,
            data.views,
            sizes,
            data.mixing,
            training.accumulate,
        )

    @property
    def student(self) -> Observed:
        """The student as it is read, in the run's arithmetic."""
        return self.student_as(self.distiller.student)

    def student_as(self, model: nn.Module) -> Observed:
        """A model in the student's place, such as its averaged weights."""
        return Observed(model, "student", output=self.recipe.student.logits, arithmetic=self.arithmetic)

    @property
    def teacher(self) -> Observed | None:
        """The one teacher as it is read, in the run's arithmetic; None where there is none, or several."""
        return self.taught_by.observed if isinstance(self.taught_by, FrozenTeacher | EMATeacher) else None

    @property
    def teachers(self) -> dict[str, nn.Module]:
        """The frozen models that teach, by name; one alone has none. To be shared with other setups."""
        if isinstance(self.taught_by, SeveralTeachers):
            return {name: next(iter(it.models())) for name, it in self.taught_by.teachers.items()}
        return {"": self.taught_by.model} if isinstance(self.taught_by, FrozenTeacher) else {}

    def arithmetic(self) -> AbstractContextManager[Any]:
        """The context in which models run."""
        return arithmetic(self.device, self.precision)


def set_up(
    loaded: LoadedRecipe,
    *,
    teacher: nn.Module | Mapping[str, nn.Module] | None = None,
    student: nn.Module | None = None,
    images: Images | None = None,
) -> Setup:
    """Load the data, build the models, check every link on one batch.

    Args:
        loaded: the recipe.
        teacher: a trained model, or several by name, in place of what the recipe names. It is frozen, and otherwise as
            it was.
        student: a model to train, in place of the one that the recipe names. Such a run cannot be repeated from its
            folder alone.
        images: the recipe's own, where they are loaded already.

    Raises:
        ProblemsError: everything about models and links that does not fit, with the recipe's lines.
        LayerlinkError: where data or weights cannot be read.
    """
    problems, notes = list[Problem](), list[str]()
    device, images = _load(loaded, problems, images)
    precision = choose_precision(loaded.recipe.precision, device)
    run_as, everyone = partial(arithmetic, device, precision), {STUDENT: loaded, **loaded.peers}
    students = _students(everyone, {} if student is None else {STUDENT: student}, images, problems, notes)
    teachers = _by_name(teacher) if teacher is not None else build_teachers(loaded, images, problems, notes)
    task = _task(loaded, images, problems)
    if len(students) < len(everyone) or task is None or len(teachers) < len(loaded.recipe.frozen_teachers):
        raise loaded.error(problems)
    for name, each in everyone.items():
        if student is None or name != STUDENT:
            begin(each, students[name], teachers, images, problems)
    samples = _samples(loaded, teachers, images, problems) | dict.fromkeys(students.values(), images.sample)
    in_rows = {model for model, sample in samples.items() if keep_rows_together(model.to(device), sample, run_as)}
    of_each = {name: teachers or _others(students, each) for name, each in everyone.items()}
    seen = dict[str, Checked]()
    for name, each in everyone.items():
        seen[name] = check_on_batch(each, task, of_each[name], students[name], images, run_as)
        problems += [problem for problem in seen[name].problems if problem not in problems]
    if problems:
        raise loaded.error(problems)
    warnings, setups = (*_bad_images(images), *teacher_warnings(loaded.recipe, images)), {}
    for name, each in everyone.items():
        teaching = taught_by(each.recipe, of_each[name], students[name], images, run_as)
        with run_as():  # a teacher that is shared may have its weights in the products' precision
            distiller = _distiller(each.recipe, task, teaching, students[name], images)
        distiller.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        setups[name] = Setup(
            *(each, images, distiller, None if each.recipe.peers else teaching, seen[name].links, device, precision),
            *(warnings, tuple(notes), task, seen[name].teacher_answers),
        )
    own = [model for name, model in students.items() if student is None or name != STUDENT]
    frozen = [*teachers.values()] if teacher is None else []
    _make_all_fast(own, frozen, in_rows, device)
    for model in frozen:
        keep_cast_weights(model, precision, samples[model])
    return replace(setups.pop(STUDENT), peers=setups)


def _make_all_fast(
    students: Iterable[nn.Module], teachers: Iterable[nn.Module], in_rows: set[nn.Module], device: torch.device
) -> None:
    """Every model that was made here, which nobody else uses; those that need their rows together get them back."""
    for model in in_rows:
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for models, are_frozen in ((students, False), (teachers, True)):
        for model in models:
            if model not in in_rows:
                make_fast(model, device, frozen=are_frozen)


def _students(
    everyone: Mapping[str, LoadedRecipe],
    given: dict[str, nn.Module],
    images: Images,
    problems: list[Problem],
    notes: list[str],
) -> dict[str, nn.Module]:
    """The student and its peers by name, those that are given and those that their recipes name."""
    for name, each in everyone.items():
        if name not in given:
            model = build_role(each, ("student",), each.recipe.student, images, problems, notes)
            given |= {} if model is None else {name: model}
    return given


def _samples(
    loaded: LoadedRecipe, teachers: Mapping[str, nn.Module], images: Images, problems: list[Problem]
) -> dict[nn.Module, Inputs]:
    """Two images as each teacher sees them."""
    try:
        return {it: seen_by_teacher(loaded.recipe.every_teacher.get(name), images) for name, it in teachers.items()}
    except UsageError as error:
        raise loaded.error([*problems, loaded.problem(("teacher",), str(error))]) from None


def _others(students: Mapping[str, nn.Module], loaded: LoadedRecipe) -> dict[str, nn.Module]:
    """What a student or peer learns from: one alone has no name."""
    others = {other: students[other] for other in loaded.recipe.peers or ()}
    return others if len(others) != 1 else {"": next(iter(others.values()))}


def _by_name(given: nn.Module | Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    return {"": given} if isinstance(given, nn.Module) else dict(given)


def _task(loaded: LoadedRecipe, images: Images, problems: list[Problem]) -> Task | None:
    """The recipe's task, for the labels that are there; None, and problems, where they do not fit."""
    try:
        task = loaded.recipe.task.build()
    except UsageError as error:
        problems.append(loaded.problem(("task",), str(error)))
        return None
    if loaded.recipe.data.partly_labelled:
        task = task.partly_labelled()
    problems += mixing_problems(loaded, task, images)
    for part in (images.train, images.validation, images.test):
        found = task.target_problems(part.some_labels(), len(part.classes))
        if found:
            problems += [loaded.problem(("task",), what) for what in found]
            return None
    return task


def _load(loaded: LoadedRecipe, problems: list[Problem], images: Images | None) -> tuple[torch.device, Images]:
    """Device and images; without images nothing more can be checked, so that ends the checking."""
    device = torch.device("cpu")
    try:
        device = choose_device(loaded.recipe.device)
    except UsageError as error:
        problems.append(loaded.problem(("device",), str(error)))
    problems += [loaded.problem(("compile",), what) for what in graph_problems(loaded.recipe, device)]
    problems += process_problems(loaded)
    try:
        with here().first_of_machine_before():
            return device, images or load_images(loaded.recipe, device)
    except UsageError as error:
        problems.append(loaded.problem(("data",), str(error)))
        raise loaded.error(problems) from None


def _distiller(recipe: Recipe, task: Task, teacher: Teacher | None, student: nn.Module, images: Images) -> Distiller:
    has_shapes = any(needs_shapes(link) for link in recipe.whole_links)
    asks_for_heads = any(loss_kind(link.loss).needs() & HEADS for link in recipe.whole_links)
    with seeded(recipe.seed):  # adapters begin alike whatever was drawn before
        return Distiller(
            teacher,
            student,
            hard=recipe.hard.build(),
            soft=soft_of(recipe, images, teacher),
            links=recipe.links,
            link_scale=recipe.link_scale,
            link_until=recipe.link_until,
            link_decay=recipe.link_decay,
            label_smoothing=recipe.training.label_smoothing,
            student_logits=recipe.student.logits,
            student_head=recipe.student.head,
            example=images.sample if has_shapes or asks_for_heads or isinstance(task, CausalLM) else None,
            facts=facts_of(images),
            task=task,
        )


def _bad_images(images: Images) -> Iterator[str]:
    """What of the source is not read, and what ``data.skip_bad`` left out."""
    yield from (f"data: {text}" for text in images.warnings)
    if images.bad:
        count = len(images.bad)
        more = f" And {count - 1} more." if count > 1 else ""
        yield f"{count} image{'s' if count > 1 else ''} left out, as data.skip_bad says. {images.bad[0]}{more}"
