"""From a recipe to what is trained: images, models, distiller; everything that does not fit is told at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerlink.data import Batches
from layerlink.errors import LayerlinkError, Problem, UsageError
from layerlink.files.paths import expanded
from layerlink.files.weights import load_weights
from layerlink.lab.parallel.processes import here
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.schema import ModelSection, Recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.fast_paths import keep_cast_weights, make_fast
from layerlink.lab.run.setup.images import Images, load_images
from layerlink.lab.run.setup.machine import Precision, choose_device, choose_precision
from layerlink.models import MODELS, build_model
from layerlink.transfer import Distiller, LinkReport, inspect_links


@dataclass(frozen=True)
class Setup:
    """Everything a run needs, checked.

    Args:
        loaded: the recipe.
        images: train, validation and test.
        distiller: teacher, student and objective, on the device.
        links: what one batch showed of every link.
        device: where everything is.
        precision: of the arithmetic.
        warnings: what is possible but hardly meant.
    """

    loaded: LoadedRecipe
    images: Images
    distiller: Distiller
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

    def arithmetic(self) -> AbstractContextManager[Any]:
        """The context in which models run."""
        return arithmetic(self.device, self.precision)


def arithmetic(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context in which models run."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


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
        student = _build(loaded, "student", loaded.recipe.student, images, problems)
    if teacher is None and loaded.recipe.teacher is not None:
        teacher = _build(loaded, "teacher", loaded.recipe.teacher, images, problems)
    reports: list[LinkReport] = []
    if student is not None and (teacher is not None or loaded.recipe.teacher is None):
        with arithmetic(device, precision):
            problems += _check_on_batch(loaded, teacher, student, images, reports)
    if problems or student is None:
        raise loaded.error(problems)
    distiller = _distiller(loaded.recipe, teacher, student)
    distiller.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if given_student is None:
        make_fast(student, device)
    if teacher is not None and given_teacher is None:
        make_fast(teacher, device, frozen=True)
        keep_cast_weights(teacher, precision, images.views(images.train.images[:2]))
    warnings = (*_bad_images(images), *_teacher_warnings(loaded.recipe, images))
    return Setup(loaded, images, distiller, reports, device, precision, warnings)


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


def _distiller(recipe: Recipe, teacher: nn.Module | None, student: nn.Module) -> Distiller:
    return Distiller(
        teacher,
        student,
        hard=recipe.hard,
        soft=recipe.soft.build() if recipe.soft else None,
        links=recipe.links,
        link_scale=recipe.link_scale,
        link_until=recipe.link_until,
        link_decay=recipe.link_decay,
        label_smoothing=recipe.training.label_smoothing,
        teacher_logits=recipe.teacher.logits if recipe.teacher else "",
        student_logits=recipe.student.logits,
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


def _build(
    loaded: LoadedRecipe, role: str, section: ModelSection, images: Images, problems: list[Problem]
) -> nn.Module | None:
    arguments = dict(section.arguments)
    if section.model in MODELS:
        arguments = {
            "num_classes": len(images.train.classes),
            "image_size": images.views.image_size,
            "channels": images.train.images.shape[1],
            **arguments,
        }
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(loaded.recipe.seed)
            model = build_model(section.model, **arguments)
        if section.weights is not None:
            load_weights(model, section.weights)
    except UsageError as error:
        problems.append(loaded.problem((role,), str(error)))
        return None
    if role == "teacher" and section.weights is None:
        what = "a teacher needs weights: a run folder or a .safetensors file"
        problems.append(loaded.problem((role,), what))
    return model


def _check_on_batch(
    loaded: LoadedRecipe,
    teacher: nn.Module | None,
    student: nn.Module,
    images: Images,
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
        reports += inspect_links(teacher or nn.Identity(), student, recipe.links, sample)
        for report in reports:
            problems += [loaded.problem(("links", report.index), what) for what in report.problems]
        for role, model, section in (
            ("teacher", teacher, recipe.teacher),
            ("student", student, recipe.student),
        ):
            if model is not None and section is not None and (role == "student" or recipe.soft):
                problems += _check_logits(loaded, role, model, section.logits, sample, len(images.train.classes))
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


def _check_logits(
    loaded: LoadedRecipe, role: str, model: nn.Module, element: str, sample: torch.Tensor, classes: int
) -> list[Problem]:
    probe = Distiller(None, model, student_logits=element)
    model.eval()
    try:
        with torch.no_grad():
            logits = probe.study(sample).logits
    except UsageError as error:
        return [loaded.problem((role, "logits"), str(error).replace("student", role))]
    finally:
        model.train()
    if logits is None or logits.shape != (len(sample), classes):
        got = None if logits is None else tuple(logits.shape)
        what = f"must give logits (N, {classes}) for the data's {classes} classes; got {got} for N = {len(sample)}"
        return [loaded.problem((role,), what)]
    return []
