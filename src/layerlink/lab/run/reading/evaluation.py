"""What a trained model does: the task's score, agreement with the teacher, dead layers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from layerlink.data import Batches, Examples, SequenceViews, TextViews, Views
from layerlink.data.normalisation import Renormalised
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.paths import expanded
from layerlink.files.weights import load_weights
from layerlink.lab.parallel.processes import here
from layerlink.lab.recipe.terms import HardSection
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import trusted_recipe_of_run
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.measure.flops import count_parameters
from layerlink.printable import one_line
from layerlink.taps import Observed
from layerlink.taps.modes import evaluating
from layerlink.taps.randomness import seeded
from layerlink.tasks.classification import percent_equal

Read = TypeVar("Read")
Viewed = TypeVar("Viewed", Views, TextViews, Views | TextViews)
EVALUATION_BATCH = 256


def each_image(
    observed: Observed,
    images: Examples,
    views: Views | TextViews,
    reading: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
) -> tuple[Tensor, ...]:
    """Something of what a model answers to every image. Processes that train together take a part of the images each.

    Args:
        observed: gives an output for a batch of images.
        images: which.
        views: what the model sees of them.
        reading: of a batch's output, such as logits (n, C), and labels (n, ...), tensors (n, ...).

    Returns:
        For each of these (N, ...), in the images' order, on their device.
    """
    own, views = here().part(len(images)), views_of(observed, views)
    mine = images.select(own)
    found = []
    # A model that draws random numbers in evaluation, too, answers the same again.
    with seeded(here().rank), evaluating(observed.model), observed.arithmetic():
        for batch in Batches(mine, views, images.at_once(EVALUATION_BATCH)).in_order():
            found.append(reading(observed.logits(batch.images), batch.labels))
    return tuple(_whole(parts, own, len(images)) for parts in zip(*found, strict=True))


def views_of(observed: Observed, views: Viewed) -> Viewed:
    """The views in the pixels that a model was trained with, where it says which."""
    size = observed.view.size if isinstance(observed.view, Renormalised) else None
    return views if size is None or not isinstance(views, Views) else views.of_size(size)


def _whole(parts: Sequence[Tensor], own: slice, count: int) -> Tensor:
    """The rows of all processes, from those of this one."""
    before, after = (parts[0].new_zeros(rows, *parts[0].shape[1:]) for rows in (own.start, count - own.stop))
    return here().sum(torch.cat([before, *parts, after]))


def validation_score(model: nn.Module, setup: Setup) -> float:
    """The task's score of a model in the student's place on the validation images."""
    task, images = setup.task, setup.images.validation
    (judged,) = each_image(
        setup.student_as(model), images, setup.images.views, lambda output, labels: (task.judge(output, labels),)
    )
    return task.summary(judged)[task.score.name]


@dataclass(frozen=True)
class Reading:
    """What a model gives for the test images.

    Args:
        numbers: the task's, by name.
        answers: that are compared for equality; None where the task has none.
        by_class: the score of each class alone, by its name; empty where the task has none.
    """

    numbers: Mapping[str, float]
    answers: Tensor | None
    by_class: Mapping[str, float | None] = field(default_factory=dict)


def read_images(observed: Observed, setup: Setup) -> Reading:
    """What a model gives for the test images."""
    task, images = setup.task, setup.images.test
    alike = not isinstance(setup.images.views, SequenceViews) or setup.images.views.packing  # in their shapes

    def reading(output: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        answered = task.answers(output) if alike else None
        return task.judge(output, labels), *([] if answered is None else [answered])

    judged, *answered = each_image(observed, images, setup.images.views, reading)
    scores = task.by_class(judged)
    by_class = dict(zip(images.classes, scores, strict=True)) if scores else {}
    return Reading(task.summary(judged), answered[0] if answered else None, by_class)


def read_test(model: nn.Module, setup: Setup) -> dict[str, Any]:
    """What is read from the test images, once.

    Returns:
        The student's numbers, each as ``test_NAME``: in classification its ``test_accuracy`` in percent, ``test_nll``
        in nats and ``test_ece`` in percent. Where the task scores each class alone, these ``by_class``. With a teacher
        whose output is of the task its ``teacher_test_SCORE``, too, and, where the task has answers, the ``agreement``
        of the two in percent.
    """
    name = setup.task.score.name
    student = read_images(setup.student_as(model), setup)
    reading: dict[str, Any] = {f"test_{name}": student.numbers[name], "test_images": len(setup.images.test)}
    if setup.images.test.noun != "images":
        reading["examples"] = setup.images.test.noun
    reading |= {f"test_{other}": value for other, value in student.numbers.items() if other != name}
    if student.by_class:
        reading["by_class"] = dict(student.by_class)
    if setup.teacher is not None and setup.teacher_answers:
        taught = _teacher_reading(setup.teacher, setup)
        reading[f"teacher_test_{name}"] = taught.numbers[name]
        if taught.by_class:
            reading["teacher_by_class"] = dict(taught.by_class)
        if student.answers is not None and taught.answers is not None:
            reading["agreement"] = percent_equal(student.answers, taught.answers)
    return reading


def _teacher_reading(teacher: Observed, setup: Setup) -> Reading:
    """What the teacher gives for the test images; the students of a cohort ask for the same."""
    return read_once(teacher, setup, setup.images.test, lambda: read_images(teacher, setup))


def read_once(observed: Observed, setup: Setup, images: Examples, read: Callable[[], Read]) -> Read:
    """What is read of a model's answers to images, from memory where it was read before and nothing has changed since.

    Args:
        observed: the model as it is read.
        setup: says with which views, task and precision.
        images: that it is asked about.
        read: makes the reading. Of one set of images there is one kind of reading.
    """
    model = observed.model
    version = sum(tensor._version for tensor in (*model.parameters(), *model.buffers()))
    asked = setup.images.views, setup.precision, setup.task, version
    known = _READ.setdefault(model, {}).get(id(images.labels))
    if known is None or known[0] is not images.labels or known[1] != asked:
        known = _READ[model][id(images.labels)] = images.labels, asked, read()
    found: Read = known[2]
    return found


_READ: WeakKeyDictionary[nn.Module, dict[int, tuple[Tensor, Any, Any]]] = WeakKeyDictionary()


def set_up_again(run: RunFolder, overrides: Sequence[str] = (), *, trust_code: bool = False) -> Setup:
    """A finished run's setup with its trained student, and with its own normalisation.

    Neither the weights that the student began with nor teacher or peers are needed for that; where the teacher is gone,
    the setup has none.
    """
    loaded = trusted_recipe_of_run(run, overrides, trust_code=trust_code)
    recipe = loaded.recipe
    changes: dict[str, Any] = {"student": recipe.student.model_copy(update={"weights": None})}
    needed = [section.loaded_from for section in recipe.every_teacher.values()]
    gone = any(weights is not None and not expanded(weights).exists() for weights in needed)
    if gone or recipe.peers is not None:
        changes |= {
            "teacher": None,
            "teachers": None,
            "peers": None,
            "soft": None,
            "links": (),
            "hard": HardSection.model_validate({}),
        }
    setup = set_up(dataclasses.replace(loaded, recipe=recipe.model_copy(update=changes)))
    load_weights(setup.distiller.student, run.path)
    return as_the_run_saw(setup, run)


def as_the_run_saw(setup: Setup, run: RunFolder) -> Setup:
    """The setup with the normalisation that the run was trained with.

    Raises:
        UsageError: where the run was trained on other classes or tokens.
        LayerlinkError: where what it says of its images is damaged.
    """
    if not run.data.exists():
        return setup
    seen = run.read_data()
    views = setup.images.views
    channels = len(views.mean) if isinstance(views, Views) else 0
    for name in ("mean", "std") if channels else ():
        if not _is_statistic(seen.get(name), channels) or (name == "std" and min(seen["std"]) <= 0):
            what = f"{channels} numbers{' > 0' if name == 'std' else ''}"
            raise LayerlinkError(f"{run.data} is damaged: {name} must be {what}; got {seen.get(name)!r}")
    trained, there = seen.get("classes"), list(setup.images.train.classes)
    if isinstance(trained, list) and trained != there:
        raise UsageError(
            f"{run.path} was trained on other classes, or in another order: {_first_names(trained)}; the data has "
            f"{_first_names(there)}. Name the class folders as they were, or set data.root to the run's own data"
        )
    if not isinstance(views, Views):
        if seen.get("vocabulary") != setup.images.stamp["vocabulary"]:
            raise UsageError(f"{run.path} was trained on other tokens: its tokenizer has changed since, or is another")
        return setup
    views = dataclasses.replace(views, mean=tuple(seen["mean"]), std=tuple(seen["std"]))
    return dataclasses.replace(setup, images=dataclasses.replace(setup.images, views=views))


def _first_names(names: Any) -> str:
    few = [one_line(str(name)) for name in names[:10]] if isinstance(names, list) else [one_line(str(names))]
    return ", ".join(few) + (f" and {len(names) - 10} more" if isinstance(names, list) and len(names) > 10 else "")


def _is_statistic(value: Any, channels: int) -> bool:
    numbers = value if isinstance(value, list) and len(value) == channels else [None]
    return all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)


def evaluate_run(run: RunFolder, overrides: Sequence[str] = (), *, trust_code: bool = False) -> dict[str, Any]:
    """Read a finished run's student again, on the images and with the arithmetic of its recipe.

    Args:
        run: the folder.
        overrides: ``key=value`` texts over its recipe, such as another ``data.root``.
        trust_code: whether code that the folder names may be called, where this user did not make the run.

    Returns:
        As ``read_test``, with the task's ``score`` of the validation images, parameters and the recorded one of the
        test.

    Raises:
        UsageError: where the run is not finished.
        ForeignCodeError: where it names code of somebody else.
    """
    recorded = run.read_result()
    if not run.recipe.exists():
        raise UsageError(f"{run.path} has lost its {run.recipe.name}, which says what model and data it is")
    setup = set_up_again(run, overrides, trust_code=trust_code)
    model, name = setup.distiller.student, setup.task.score.name
    return {
        **read_test(model, setup),
        f"validation_{name}": validation_score(model, setup),
        "validation_images": len(setup.images.validation),
        "parameters": count_parameters(model),
        f"recorded_test_{name}": recorded[f"test_{name}"],
        "score": setup.task.score.facts(),
    }
