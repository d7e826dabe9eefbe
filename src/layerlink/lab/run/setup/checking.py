"""What a pass over two images shows of a recipe's models and links, before anything is trained."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Size, nn

from layerlink.config.changes import Place
from layerlink.data.examples import Inputs, first, shape_of
from layerlink.errors import LayerlinkError, Problem
from layerlink.lab.parallel.processes import here
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.models import TeacherSection
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.run.setup.causality import looks_ahead
from layerlink.lab.run.setup.images import Images
from layerlink.lab.run.setup.teachers import teacher_view
from layerlink.losses import Facts
from layerlink.taps import OUTPUT, Observed, trace
from layerlink.taps.observed import Arithmetic
from layerlink.tasks import CausalLM, Task
from layerlink.teachers import SeveralTeachers
from layerlink.teachers.untouched import UntouchedTeacher
from layerlink.transfer import LinkReport
from layerlink.transfer.inspection import inspect_observed
from layerlink.user_code import told


@dataclass
class Checked:
    """What the pass showed.

    Args:
        links: a report each.
        teacher_answers: whether the teacher's output is of the task.
        problems: everything that does not fit.
    """

    links: list[LinkReport] = field(default_factory=list)
    teacher_answers: bool = False
    problems: list[Problem] = field(default_factory=list)


def check_on_batch(
    loaded: LoadedRecipe,
    task: Task,
    teachers: Mapping[str, nn.Module],
    student: nn.Module,
    images: Images,
    arithmetic: Arithmetic,
) -> Checked:
    """Run the models on two images.

    A teacher that is the student's average gives what the student gives.

    Args:
        loaded: the recipe.
        task: what outputs mean.
        teachers: by name; one alone has none. Moved to where the images are, as the student is.
        student: newly made.
        images: the recipe's.
        arithmetic: makes the context to run in.
    """
    recipe = loaded.recipe
    # Where the images are: a teacher that is shared is there already, and all else will be.
    sample = images.sample
    for model in (*teachers.values(), student):
        model.to(images.device)
    seen = Checked()
    problems = seen.problems
    if not any(parameter.requires_grad for parameter in student.parameters()):
        problems.append(loaded.problem(("student",), "has no parameter to train: every one is frozen"))
    problems += [loaded.problem(("student",), what) for what in _check_state(student)]
    try:
        learns = Observed(
            student, "student", output=recipe.student.logits, arithmetic=arithmetic, head=recipe.student.head
        )
        observed = {
            name: _as_teacher(recipe.every_teacher.get(name), model, images, arithmetic)
            for name, model in teachers.items()
        }
        asked = _asked(observed, student, recipe, arithmetic)
        seen.links += inspect_observed(asked, learns, recipe.links, sample, facts_of(images))
        for report in seen.links:
            problems += [loaded.problem(("links", report.index), what) for what in report.problems]
        wrong, seen.teacher_answers = _check_outputs(loaded, task, learns, observed, images)
        problems += wrong
        problems += _check_training(loaded, learns, sample)
    except LayerlinkError as error:
        problems.append(Problem("models", str(error)))
    except Exception as error:  # noqa: BLE001 - whatever a user's model raises
        what = f"a model does not run on {images.train.noun} {shape_of(sample)}: {told(error)}"
        problems.append(Problem("models", what))
    return seen


def _check_outputs(
    loaded: LoadedRecipe, task: Task, learns: Observed, teachers: Mapping[str, Observed], images: Images
) -> tuple[list[Problem], bool]:
    """What is wrong with outputs, which must be of the task, and whether the teacher's is.

    A teacher that teaches through links alone may give anything.
    """
    sample, classes = images.sample, len(images.train.classes)
    own, problems = _shape_of(loaded, learns, sample, ("student",))
    if own is not None:
        problems += [loaded.problem(("student",), what) for what in task.problems(own, classes)]
    if own is not None and isinstance(task, CausalLM) and (what := looks_ahead(learns, sample)):
        problems.append(loaded.problem(("student",), what))
    if not teachers:  # the student's average, if anything
        return problems, not problems
    answers, soft = False, loaded.recipe.soft
    asked = set(soft.teachers or teachers) if soft is not None and not soft.teacher_output else set()
    for name, teaches in teachers.items():
        place = loaded.place_of_teacher(name)
        other, unread = _shape_of(loaded, teaches, sample, place)
        wrong = [] if other is None else task.problems(other, classes)
        if other is not None and not wrong and isinstance(task, CausalLM) and (what := looks_ahead(teaches, sample)):
            wrong = [what]
        if own is not None and other is not None and not wrong and own != other:
            wrong = [f"gives {tuple(other)} where the student gives {tuple(own)}"]
        answers = other is not None and not wrong
        if name in asked:
            problems += unread
            problems += [loaded.problem(place, what) for what in wrong]
    return problems, answers


def _as_teacher(section: TeacherSection | None, model: nn.Module, images: Images, arithmetic: Arithmetic) -> Observed:
    output, head = ("", "") if section is None else (section.logits, section.head)
    view = teacher_view(section, images)
    return Observed(model, "teacher", output=output, arithmetic=arithmetic, view=view, head=head)


def _asked(
    teachers: Mapping[str, Observed], student: nn.Module, recipe: Recipe, arithmetic: Arithmetic
) -> Observed | SeveralTeachers:
    """What the links are tried against: the one teacher, several, or where there is none the student's average."""
    if len(teachers) > 1:
        return SeveralTeachers({name: UntouchedTeacher(it) for name, it in teachers.items()})
    own = Observed(student, "teacher", output=recipe.student.logits, arithmetic=arithmetic)
    return teachers.get("", own if recipe.teacher is not None else Observed(_Nobody(), "teacher"))


class _Nobody(nn.Module):
    """In the place of a teacher where there is none: gives back the first of its inputs."""

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        return next(iter((*inputs, *named.values())))


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


def _check_training(loaded: LoadedRecipe, learns: Observed, sample: Inputs) -> list[Problem]:
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
        trace(learns, [OUTPUT], first(sample, 1))
    except ValueError as error:  # batch normalisation over one value a channel
        what = f"must be 2 or more for this student, which does not train on a single example: {error}"
        return [loaded.problem(("training", "batch_size"), what)]
    return []


def _shape_of(
    loaded: LoadedRecipe, observed: Observed, sample: Inputs, place: Place
) -> tuple[Size | None, list[Problem]]:
    given = trace(observed, [OUTPUT], sample, evaluate=True)
    if OUTPUT in given.problems:
        return None, [loaded.problem((*place, "logits"), given.problems[OUTPUT])]
    return given.values[OUTPUT].shape, []


def facts_of(images: Images) -> Facts:
    """What losses may ask of the training."""
    return Facts(train_size=len(images.train), num_classes=len(images.train.classes))
