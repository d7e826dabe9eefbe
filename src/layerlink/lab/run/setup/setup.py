"""From a recipe to what is trained: images, models, distiller; everything that does not fit is told at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from layerlink.data import Batches
from layerlink.errors import Problem, UsageError
from layerlink.files.paths import expanded
from layerlink.lab.parallel.processes import here
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.checking import Checked, check_on_batch, facts_of, teacher_view
from layerlink.lab.run.setup.fast_paths import keep_cast_weights, make_fast
from layerlink.lab.run.setup.images import Images, load_images
from layerlink.lab.run.setup.machine import choose_device, choose_precision
from layerlink.lab.run.setup.memory_format import keep_rows_together
from layerlink.lab.run.setup.models import build_role
from layerlink.taps import Observed
from layerlink.taps.observed import Arithmetic, Precision, arithmetic
from layerlink.tasks import Classification, Task
from layerlink.teachers import FrozenTeacher
from layerlink.transfer import Distiller, LinkReport
from layerlink.transfer.link_part import needs_shapes


@dataclass(frozen=True)
class Setup:
    """Everything a run needs, checked.

    Args:
        loaded: the recipe.
        images: train, validation and test.
        distiller: teacher, student and objective, on the device.
        taught_by: the distiller's teacher; None where labels alone teach.
        links: what one batch showed of every link.
        device: where everything is.
        precision: of the arithmetic.
        warnings: what is possible but hardly meant.
        task: what outputs mean.
        teacher_answers: whether the teacher's output is of the task, so that it can be judged.
    """

    loaded: LoadedRecipe
    images: Images
    distiller: Distiller
    taught_by: FrozenTeacher | None
    links: list[LinkReport]
    device: torch.device
    precision: Precision
    warnings: tuple[str, ...] = ()
    task: Task = field(default_factory=Classification)
    teacher_answers: bool = True

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.loaded.recipe

    @property
    def batches(self) -> Batches:
        """The training batches; of each this process's part, where several train together."""
        part = (here().rank, here().size)
        return Batches(self.images.train, self.images.views, self.recipe.training.batch_size, self.recipe.seed, part)

    @property
    def student(self) -> Observed:
        """The student as it is read, in the run's arithmetic."""
        return self.student_as(self.distiller.student)

    def student_as(self, model: nn.Module) -> Observed:
        """A model in the student's place, such as its averaged weights."""
        return Observed(model, "student", output=self.recipe.student.logits, arithmetic=self.arithmetic)

    @property
    def teacher(self) -> Observed | None:
        """The teacher as it is read, in the run's arithmetic; None where labels alone teach."""
        return None if self.taught_by is None else self.taught_by.observed

    def arithmetic(self) -> AbstractContextManager[Any]:
        """The context in which models run."""
        return arithmetic(self.device, self.precision)


def set_up(
    loaded: LoadedRecipe,
    *,
    teacher: nn.Module | None = None,
    student: nn.Module | None = None,
    images: Images | None = None,
) -> Setup:
    """Load the data, build the models, check every link on one batch.

    Args:
        loaded: the recipe.
        teacher: a trained model, in place of the one that the recipe names. It is frozen, and otherwise as it was.
        student: a model to train, in place of the one that the recipe names. Such a run cannot be repeated from its
            folder alone.
        images: the recipe's own, where they are loaded already.

    Raises:
        ProblemsError: everything about models and links that does not fit, with the recipe's lines.
        LayerlinkError: where data or weights cannot be read.
    """
    problems: list[Problem] = []
    device, images = _load(loaded, problems, images)
    precision = choose_precision(loaded.recipe.precision, device)
    given_teacher, given_student = teacher, student
    if student is None:
        student = build_role(loaded, "student", loaded.recipe.student, images, problems)
    if teacher is None and loaded.recipe.teacher is not None:
        teacher = build_role(loaded, "teacher", loaded.recipe.teacher, images, problems)
    task = _task(loaded, images, problems)
    seen = Checked()
    in_rows = _in_rows([teacher, student], images, partial(arithmetic, device, precision))
    if student is not None and task is not None and (teacher is not None or loaded.recipe.teacher is None):
        run_as = partial(arithmetic, device, precision)
        problems += check_on_batch(loaded, task, teacher, student, images, run_as, seen)
    if problems or student is None or task is None:
        raise loaded.error(problems)
    taught_by = None
    if teacher is not None:
        output = loaded.recipe.teacher.logits if loaded.recipe.teacher else ""
        taught_by = FrozenTeacher(
            teacher,
            output=output,
            arithmetic=partial(arithmetic, device, precision),
            view=teacher_view(loaded.recipe, images),
        )
    with arithmetic(device, precision):  # a teacher that is shared may have its weights in the products' precision
        distiller = _distiller(loaded.recipe, task, taught_by, student, images)
    distiller.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for model in in_rows:
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    if given_student is None and student not in in_rows:
        make_fast(student, device)
    if teacher is not None and given_teacher is None:
        if teacher not in in_rows:
            make_fast(teacher, device, frozen=True)
        keep_cast_weights(teacher, precision, images.views(images.train.images[:2]))
    warnings = (*_bad_images(images), *_teacher_warnings(loaded.recipe, images))
    return Setup(
        loaded, images, distiller, taught_by, seen.links, device, precision, warnings, task, seen.teacher_answers
    )


def _in_rows(models: Iterable[nn.Module | None], images: Images, run_as: Arithmetic) -> list[nn.Module]:
    """The models that need their maps row by row."""
    sample = images.views(images.train.images[:2])
    there = [model.to(sample.device) for model in models if model is not None]
    return [model for model in there if keep_rows_together(model, sample, run_as)]


def _task(loaded: LoadedRecipe, images: Images, problems: list[Problem]) -> Task | None:
    """The recipe's task, for the labels that are there; None, and problems, where they do not fit."""
    try:
        task = loaded.recipe.task.build()
    except UsageError as error:
        problems.append(loaded.problem(("task",), str(error)))
        return None
    if loaded.recipe.data.labelled is not None:
        task = task.partly_labelled()
    for part in (images.train, images.validation, images.test):
        found = task.target_problems(part.labels, len(part.classes))
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
    if loaded.recipe.training.batch_size < here().size:
        what = f"must give each of the {here().size} processes an image; got {loaded.recipe.training.batch_size}"
        problems.append(loaded.problem(("training", "batch_size"), what))
    try:
        with here().first_of_machine_before():
            return device, images or load_images(loaded.recipe, device)
    except UsageError as error:
        problems.append(loaded.problem(("data",), str(error)))
        raise loaded.error(problems) from None


def _distiller(
    recipe: Recipe, task: Task, teacher: FrozenTeacher | None, student: nn.Module, images: Images
) -> Distiller:
    given = {} if teacher is None else {"teacher_logits": "".join(f"[{key}]" for key in teacher.observed.output)}
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)  # adapters begin alike whatever was drawn before
        return _made(recipe, task, teacher, student, images, **given)


def _made(
    recipe: Recipe, task: Task, teacher: FrozenTeacher | None, student: nn.Module, images: Images, **more: Any
) -> Distiller:
    has_shapes = any(needs_shapes(link) for link in recipe.whole_links)
    return Distiller(
        teacher,
        student,
        hard=recipe.hard.build(),
        soft=recipe.soft.build() if recipe.soft else None,
        links=recipe.links,
        link_scale=recipe.link_scale,
        link_until=recipe.link_until,
        link_decay=recipe.link_decay,
        label_smoothing=recipe.training.label_smoothing,
        student_logits=recipe.student.logits,
        example=images.views(images.train.images[:2]) if has_shapes else None,
        facts=facts_of(images),
        task=task,
        **more,
    )


def _bad_images(images: Images) -> Iterator[str]:
    """What ``data.skip_bad`` left out."""
    if images.bad:
        count = len(images.bad)
        more = f" And {count - 1} more." if count > 1 else ""
        yield f"{count} image{'s' if count > 1 else ''} left out, as data.skip_bad says. {images.bad[0]}{more}"


def _teacher_warnings(recipe: Recipe, images: Images) -> Iterator[str]:
    """Where a teacher's run saw its data otherwise than its student will."""
    if recipe.teacher is None or recipe.teacher.weights is None:
        return
    run = RunFolder(expanded(recipe.teacher.weights))
    if not run.data.exists():
        return
    taught = run.read_data()
    for name in ("classes", "image_size", "mean", "std"):
        if taught.get(name) != images.stamp[name]:
            yield (
                f"the teacher was trained with {name} {taught.get(name)}, the student gets {images.stamp[name]}: "
                "set the data section as in the teacher's recipe"
            )
    if taught.get("validation") != images.stamp["validation"]:
        yield (
            "the student's validation images are not the teacher's, so the teacher may have been trained on some of "
            "them: set data.validation and data.split_seed as in the teacher's recipe"
        )
