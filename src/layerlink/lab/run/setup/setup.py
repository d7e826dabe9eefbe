"""From a recipe to what is trained: images, models, distiller; everything that does not fit is told at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from layerlink.data import Batches
from layerlink.data.normalisation import Renormalised
from layerlink.errors import LayerlinkError, Problem, UsageError
from layerlink.files.paths import expanded
from layerlink.lab.parallel.processes import here
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.schema import Recipe, TeacherSection
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.fast_paths import keep_cast_weights, make_fast
from layerlink.lab.run.setup.images import Images, load_images
from layerlink.lab.run.setup.machine import choose_device, choose_precision
from layerlink.lab.run.setup.models import build_role
from layerlink.losses import Facts
from layerlink.taps import OUTPUT, Observed, trace
from layerlink.taps.observed import Arithmetic, Precision, arithmetic
from layerlink.teachers import FrozenTeacher
from layerlink.transfer import Distiller, LinkReport
from layerlink.transfer.inspection import inspect_observed
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
    """

    loaded: LoadedRecipe
    images: Images
    distiller: Distiller
    taught_by: FrozenTeacher | None
    links: list[LinkReport]
    device: torch.device
    precision: Precision
    warnings: tuple[str, ...] = ()

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
    reports: list[LinkReport] = []
    if student is not None and (teacher is not None or loaded.recipe.teacher is None):
        problems += _check_on_batch(loaded, teacher, student, images, partial(arithmetic, device, precision), reports)
    if problems or student is None:
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
        distiller = _distiller(loaded.recipe, taught_by, student, images)
    distiller.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if given_student is None:
        make_fast(student, device)
    if teacher is not None and given_teacher is None:
        make_fast(teacher, device, frozen=True)
        keep_cast_weights(teacher, precision, images.views(images.train.images[:2]))
    warnings = (*_bad_images(images), *_teacher_warnings(loaded.recipe, images))
    return Setup(loaded, images, distiller, taught_by, reports, device, precision, warnings)


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


def _distiller(recipe: Recipe, teacher: FrozenTeacher | None, student: nn.Module, images: Images) -> Distiller:
    given = {} if teacher is None else {"teacher_logits": "".join(f"[{key}]" for key in teacher.observed.output)}
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)  # adapters begin alike whatever was drawn before
        return _made(recipe, teacher, student, images, **given)


def _made(recipe: Recipe, teacher: FrozenTeacher | None, student: nn.Module, images: Images, **more: Any) -> Distiller:
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
        **more,
    )


def teacher_view(recipe: Recipe, images: Images) -> Renormalised | None:
    """How the teacher sees images, where its recipe says that it was trained with another normalisation.

    Raises:
        UsageError: where that is for another number of channels.
    """
    section = recipe.teacher
    if not isinstance(section, TeacherSection) or section.mean is None or section.std is None:
        return None
    channels = images.train.images.shape[1]
    if len(section.mean) != channels:
        raise UsageError(f"teacher.mean must be {channels} numbers, one a channel; got {len(section.mean)}")
    return Renormalised((images.views.mean, images.views.std), (section.mean, section.std))


def facts_of(images: Images) -> Facts:
    """What losses may ask of the training."""
    return Facts(train_size=len(images.train), num_classes=len(images.train.classes))


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


def _check_on_batch(
    loaded: LoadedRecipe,
    teacher: nn.Module | None,
    student: nn.Module,
    images: Images,
    arithmetic: Arithmetic,
    reports: list[LinkReport],
) -> list[Problem]:
    """Run both models on two images; fill ``reports``; return everything that does not fit."""
    recipe = loaded.recipe
    # Where the images are: a teacher that is shared is there already, and all else will be.
    sample = images.views(images.train.images[:2])
    for model in (teacher, student):
        if model is not None:
            model.to(sample.device)
    problems: list[Problem] = []
    if not any(parameter.requires_grad for parameter in student.parameters()):
        problems.append(loaded.problem(("student",), "has no parameter to train: every one is frozen"))
    try:
        learns = Observed(student, "student", output=recipe.student.logits, arithmetic=arithmetic)
        output = recipe.teacher.logits if recipe.teacher else ""
        view = teacher_view(recipe, images)
        teaches = Observed(teacher or nn.Identity(), "teacher", output=output, arithmetic=arithmetic, view=view)
        reports += inspect_observed(teaches, learns, recipe.links, sample, facts_of(images))
        for report in reports:
            problems += [loaded.problem(("links", report.index), what) for what in report.problems]
        for observed in (*([teaches] if teacher is not None and recipe.soft else []), learns):
            problems += _check_logits(loaded, observed, sample, len(images.train.classes))
    except LayerlinkError as error:
        problems.append(Problem("models", str(error)))
    except Exception as error:  # noqa: BLE001 - whatever a user's model raises
        problems.append(
            Problem(
                "models",
                f"a model does not run on images {tuple(sample.shape)}: {type(error).__name__}: {error}",
            )
        )
    return problems


def _check_logits(loaded: LoadedRecipe, observed: Observed, sample: torch.Tensor, classes: int) -> list[Problem]:
    role = observed.role
    given = trace(observed, [OUTPUT], sample, evaluate=True)
    if OUTPUT in given.problems:
        return [loaded.problem((role, "logits"), given.problems[OUTPUT])]
    found = tuple(given.values[OUTPUT].shape)
    if found != (len(sample), classes):
        what = f"must give logits (N, {classes}) for the data's {classes} classes; got {found} for N = {len(sample)}"
        return [loaded.problem((role,), what)]
    return []
