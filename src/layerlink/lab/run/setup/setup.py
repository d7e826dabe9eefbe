"""From a recipe to what is trained: images, models, distiller; everything that does not fit is told at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
from layerlink.lab.recipe.models import EMA, TeacherSection
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.checking import Checked, check_on_batch, facts_of, teacher_view
from layerlink.lab.run.setup.fast_paths import keep_cast_weights, make_fast
from layerlink.lab.run.setup.images import Images, load_images
from layerlink.lab.run.setup.machine import choose_device, choose_precision
from layerlink.lab.run.setup.memory_format import keep_rows_together
from layerlink.lab.run.setup.models import OWN, build_role
from layerlink.taps import Observed
from layerlink.taps.observed import Arithmetic, Precision, arithmetic
from layerlink.tasks import Classification, Task
from layerlink.teachers import EMATeacher, FrozenTeacher, SeveralTeachers, Teacher
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
    taught_by: FrozenTeacher | SeveralTeachers | EMATeacher | None
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
        """The one teacher as it is read, in the run's arithmetic; None where there is none, or several."""
        single = self.taught_by is not None and not isinstance(self.taught_by, SeveralTeachers)
        return self.taught_by.observed if single else None  # type: ignore[union-attr]

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
    problems: list[Problem] = []
    device, images = _load(loaded, problems, images)
    precision = choose_precision(loaded.recipe.precision, device)
    given_student = student
    recipe, run_as = loaded.recipe, partial(arithmetic, device, precision)
    if student is None:
        student = build_role(loaded, ("student",), recipe.student, images, problems)
    teachers, own_teachers = _teachers(loaded, teacher, images, problems)
    task = _task(loaded, images, problems)
    seen = Checked()
    in_rows = _in_rows([*teachers.values(), student], images, run_as)
    if student is not None and task is not None and len(teachers) == len(_frozen(recipe, teachers)):
        problems += check_on_batch(loaded, task, teachers, student, images, run_as, seen)
    if problems or student is None or task is None:
        raise loaded.error(problems)
    taught_by = _taught_by(recipe, teachers, student, images, run_as)
    with arithmetic(device, precision):  # a teacher that is shared may have its weights in the products' precision
        distiller = _distiller(recipe, task, taught_by, student, images)
    distiller.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for model in in_rows:
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    if given_student is None and student not in in_rows:
        make_fast(student, device)
    for model in own_teachers:
        if model not in in_rows:
            make_fast(model, device, frozen=True)
        keep_cast_weights(model, precision, images.views(images.train.images[:2]))
    warnings = (*_bad_images(images), *_teacher_warnings(loaded.recipe, images))
    return Setup(
        loaded, images, distiller, taught_by, seen.links, device, precision, warnings, task, seen.teacher_answers
    )


def _frozen(recipe: Recipe, given: Mapping[str, nn.Module]) -> list[str]:
    """The names of the teachers that there should be; that of one is empty. A student's average is made later."""
    return [name for name, it in recipe.every_teacher.items() if it.model != EMA or name in given] or list(given)


def _teachers(
    loaded: LoadedRecipe,
    given: nn.Module | Mapping[str, nn.Module] | None,
    images: Images,
    problems: list[Problem],
) -> tuple[dict[str, nn.Module], list[nn.Module]]:
    """The frozen teachers by name, and those of them that nobody else uses."""
    if given is not None:
        return ({"": given} if isinstance(given, nn.Module) else dict(given)), []
    found = {}
    for name, section in loaded.recipe.every_teacher.items():
        place = ("teachers", name) if name else ("teacher",)
        if section.model != EMA and (model := build_role(loaded, place, section, images, problems)) is not None:
            found[name] = model
    return found, list(found.values())


def _taught_by(
    recipe: Recipe, teachers: Mapping[str, nn.Module], student: nn.Module, images: Images, run_as: Arithmetic
) -> FrozenTeacher | SeveralTeachers | EMATeacher | None:
    """What teaches: one model, several, the student's average, or nothing."""
    sections = recipe.every_teacher
    if not teachers and "" in sections and sections[""].model == EMA:
        decay = sections[""].arguments.get("decay", 0.999)
        return EMATeacher(student, float(str(decay)), output=recipe.student.logits, arithmetic=run_as)
    frozen = {
        name: FrozenTeacher(
            model,
            output=sections[name].logits if name in sections else "",
            arithmetic=run_as,
            view=teacher_view(sections.get(name), images),
        )
        for name, model in teachers.items()
    }
    return SeveralTeachers(frozen) if len(frozen) > 1 else frozen.get("")


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


def _distiller(recipe: Recipe, task: Task, teacher: Teacher | None, student: nn.Module, images: Images) -> Distiller:
    observed = getattr(teacher, "observed", None)
    given = {} if observed is None else {"teacher_logits": "".join(f"[{key}]" for key in observed.output)}
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)  # adapters begin alike whatever was drawn before
        return _made(recipe, task, teacher, student, images, **given)


def _made(
    recipe: Recipe, task: Task, teacher: Teacher | None, student: nn.Module, images: Images, **more: Any
) -> Distiller:
    has_shapes = any(needs_shapes(link) for link in recipe.whole_links)
    return Distiller(
        teacher.teachers if isinstance(teacher, SeveralTeachers) else teacher,
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
    """What of the source is not read, and what ``data.skip_bad`` left out."""
    yield from (f"data: {text}" for text in images.warnings)
    if images.bad:
        count = len(images.bad)
        more = f" And {count - 1} more." if count > 1 else ""
        yield f"{count} image{'s' if count > 1 else ''} left out, as data.skip_bad says. {images.bad[0]}{more}"


def _teacher_warnings(recipe: Recipe, images: Images) -> Iterator[str]:
    """Where a teacher's run saw its data otherwise than its student will."""
    for name, section in recipe.every_teacher.items():
        if section.weights not in (None, OWN):
            yield from _seen_otherwise(f"the teacher {name}".strip(), section, images)


def _seen_otherwise(who: str, section: TeacherSection, images: Images) -> Iterator[str]:
    run = RunFolder(expanded(section.weights or OWN))
    if not run.data.exists():
        return
    taught = run.read_data()
    own = {"image_size": section.image_size} if section.image_size else {}
    if section.statistics is not None:
        own |= dict(zip(("mean", "std"), map(list, section.statistics), strict=True))  # type: ignore[arg-type]
    for name in ("classes", "image_size", "mean", "std"):
        if taught.get(name) != own.get(name, images.stamp[name]):
            yield (
                f"{who} was trained with {name} {taught.get(name)}, the student gets {images.stamp[name]}: "
                "set the data section as in the teacher's recipe"
            )
    if taught.get("validation") != images.stamp["validation"]:
        yield (
            "the student's validation images are not the teacher's, so the teacher may have been trained on some of "
            "them: set data.validation and data.split_seed as in the teacher's recipe"
        )
