"""What a pass over two images shows of a recipe's models and links, before anything is trained."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Size, nn

from layerlink.data.normalisation import Renormalised
from layerlink.errors import LayerlinkError, Problem, UsageError
from layerlink.lab.parallel.processes import here
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.schema import Recipe, TeacherSection
from layerlink.lab.run.setup.images import Images
from layerlink.losses import Facts
from layerlink.taps import OUTPUT, Observed, trace
from layerlink.taps.observed import Arithmetic
from layerlink.tasks import Task
from layerlink.transfer import LinkReport
from layerlink.transfer.inspection import inspect_observed
from layerlink.user_code import told


@dataclass
class Checked:
    """What the pass showed.

    Args:
        links: a report each.
        teacher_answers: whether the teacher's output is of the task.
    """

    links: list[LinkReport] = field(default_factory=list)
    teacher_answers: bool = False


def check_on_batch(
    loaded: LoadedRecipe,
    task: Task,
    teacher: nn.Module | None,
    student: nn.Module,
    images: Images,
    arithmetic: Arithmetic,
    seen: Checked,
) -> list[Problem]:
    """Run both models on two images; fill ``seen``; return everything that does not fit."""
    recipe = loaded.recipe
    # Where the images are: a teacher that is shared is there already, and all else will be.
    sample = images.views(images.train.images[:2])
    for model in (teacher, student):
        if model is not None:
            model.to(sample.device)
    problems: list[Problem] = []
    if not any(parameter.requires_grad for parameter in student.parameters()):
        problems.append(loaded.problem(("student",), "has no parameter to train: every one is frozen"))
    problems += [loaded.problem(("student",), what) for what in _check_state(student)]
    try:
        learns = Observed(student, "student", output=recipe.student.logits, arithmetic=arithmetic)
        output = recipe.teacher.logits if recipe.teacher else ""
        view = teacher_view(recipe, images)
        teaches = Observed(teacher or nn.Identity(), "teacher", output=output, arithmetic=arithmetic, view=view)
        seen.links += inspect_observed(teaches, learns, recipe.links, sample, facts_of(images))
        for report in seen.links:
            problems += [loaded.problem(("links", report.index), what) for what in report.problems]
        problems += _check_outputs(loaded, task, learns, teaches if teacher is not None else None, images, seen)
        problems += _check_training(loaded, learns, sample)
    except LayerlinkError as error:
        problems.append(Problem("models", str(error)))
    except Exception as error:  # noqa: BLE001 - whatever a user's model raises
        problems.append(
            Problem(
                "models",
                f"a model does not run on images {tuple(sample.shape)}: {told(error)}",
            )
        )
    return problems


def _check_outputs(
    loaded: LoadedRecipe, task: Task, learns: Observed, teaches: Observed | None, images: Images, seen: Checked
) -> list[Problem]:
    """Whether both give what the task is of; a teacher that teaches through links alone may give anything."""
    sample, classes = images.views(images.train.images[:2]), len(images.train.classes)
    own, problems = _shape_of(loaded, learns, sample)
    if own is not None:
        problems += [loaded.problem(("student",), what) for what in task.problems(own, classes)]
    if teaches is None:
        return problems
    soft = loaded.recipe.soft
    other, unread = _shape_of(loaded, teaches, sample)
    wrong = [] if other is None else task.problems(other, classes)
    if own is not None and other is not None and not wrong and own != other:
        wrong = [f"gives {tuple(other)} where the student gives {tuple(own)}"]
    seen.teacher_answers = other is not None and not wrong
    if soft is not None and not soft.teacher_output:
        problems += unread
        problems += [loaded.problem(("teacher",), what) for what in wrong]
    return problems


def _check_state(student: nn.Module) -> Iterator[str]:
    """Whether what is no tensor in a student's state can be kept as data, which runs no code when it is read."""
    for name, value in student.state_dict().items():
        if not isinstance(value, torch.Tensor):
            kept = io.BytesIO()
            try:
                torch.save(value, kept)
                kept.seek(0)
                torch.load(kept, weights_only=True)
            except Exception:  # noqa: BLE001 - whatever pickle says
                yield (
                    f"its state {name} is a {type(value).__name__} that cannot be kept as data: let get_extra_state "
                    "give numbers, texts, lists, mappings or tensors"
                )


def _check_training(loaded: LoadedRecipe, learns: Observed, sample: torch.Tensor) -> list[Problem]:
    """What evaluation does not show: outputs that are others in training mode, batches of one image."""
    recipe = loaded.recipe
    reads = [recipe.hard.build().tap] if recipe.hard.weight else []
    reads += [recipe.soft.build().student_tap] if recipe.soft else []
    learns.model.train()
    given = trace(learns, [tap for tap in reads if tap is not None], sample)
    problems = [loaded.problem(("student", "logits"), what) for what in dict.fromkeys(given.problems.values())]
    if problems or recipe.training.batch_size > 1 or here().size > 1:
        return problems
    try:
        trace(learns, [OUTPUT], sample[:1])
    except ValueError as error:  # batch normalisation over one value a channel
        what = f"must be 2 or more for this student, which does not train on a single image: {error}"
        return [loaded.problem(("training", "batch_size"), what)]
    return []


def _shape_of(loaded: LoadedRecipe, observed: Observed, sample: torch.Tensor) -> tuple[Size | None, list[Problem]]:
    given = trace(observed, [OUTPUT], sample, evaluate=True)
    if OUTPUT in given.problems:
        return None, [loaded.problem((observed.role, "logits"), given.problems[OUTPUT])]
    return given.values[OUTPUT].shape, []


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
