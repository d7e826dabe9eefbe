"""The teacher read first: how good it is on validation images, before an hour is spent on learning from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from layerlink.data import Examples
from layerlink.files.paths import expanded
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.reading.evaluation import EVALUATION_BATCH, each_image, read_once
from layerlink.lab.run.setup.setup import Setup
from layerlink.taps import Observed
from layerlink.teachers import FrozenTeacher

FAR_BELOW = 10.0  # percent of a score below what the teacher's own run recorded, beside what so few images may miss
ORDER = 3.0  # times as many right answers by another order of classes


@dataclass(frozen=True)
class TeacherReading:
    """What a teacher gives for some validation images.

    Args:
        value: the task's score.
        images: how many.
        probabilities: whether its output is a softmax already: rows of 0..1 that add up to 1.
        reordered: of classes the percent that would be right by the best naming of its answers.
    """

    value: float
    images: int
    probabilities: bool
    reordered: float | None = None


def read_teacher(setup: Setup) -> TeacherReading | None:
    """The reading of a frozen teacher whose output is of the task; None of any other. Done once for a cohort."""
    if not isinstance(setup.taught_by, FrozenTeacher) or not setup.teacher_answers or here().size > 1:
        return None
    teacher, images = setup.taught_by.observed, setup.images.validation
    return read_once(teacher, setup, images, lambda: _reading(setup, teacher, images))


def _reading(setup: Setup, teacher: Observed, images: Examples) -> TeacherReading:
    task = setup.task
    few = images.select(slice(0, images.at_once(EVALUATION_BATCH)))

    def reading(output: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        answers = task.answers(output) if task.one_class else None
        return task.judge(output, labels), _is_softmax(output), *([] if answers is None else [answers])

    judged, softmax, *answers = each_image(teacher, few, setup.images.views, reading)
    return TeacherReading(
        task.summary(judged)[task.score.name],
        len(few),
        bool(softmax.all()),
        _reordered(answers[0], few.labels, len(few.classes)) if task.one_class else None,
    )


def teacher_findings(setup: Setup) -> Iterator[str]:
    """What is odd about the teacher."""
    reading = read_teacher(setup)
    if reading is None:
        return
    score, section = setup.task.score, setup.recipe.teacher
    if reading.probabilities and setup.recipe.soft is not None:
        yield (
            "the teacher's output is a softmax already: every row lies in 0..1 and adds up to 1. Softened again it is "
            "nearly uniform and teaches next to nothing: let the teacher give logits"
        )
    chance = setup.task.chance_met(reading.value, setup.images.validation.labels[: reading.images])
    noun = setup.images.validation.noun
    said = f"the teacher reads {score.words} {score.show(reading.value)} of {reading.images} validation {noun}"
    seen = "images normalised as it was trained with (teacher.mean)" if noun == "images" else "weights the trained ones"
    likely = f"whether its classes are in the data's order, and its {seen}"
    if reading.reordered is not None and reading.reordered > max(50.0, ORDER * reading.value):
        yield (
            f"{said}; by another order of its classes it would be {reading.reordered:.1f} %: its classes are not in "
            "the data's order"
        )
    elif chance is not None:
        yield f"{said}, no better than chance ({score.show(chance)}): look {likely}"
    elif section is not None and section.loaded_from is not None:
        run = RunFolder(expanded(section.loaded_from))
        recorded = run.read_result().get(f"validation_{score.name}") if run.result.exists() else None
        if (
            isinstance(recorded, int | float)
            and score.unit == "%"
            and reading.value < recorded - _slack(recorded, reading)
        ):
            yield f"{said}; its own run recorded {score.show(recorded)}: look {likely}"


def _slack(recorded: float, reading: TeacherReading) -> float:
    """How far a reading of so few images may be below, in percent."""
    share = min(max(recorded / 100, 0.01), 0.99)
    return FAR_BELOW + 300 * float((share * (1 - share) / reading.images) ** 0.5)


def _is_softmax(output: Tensor) -> Tensor:
    """Of every example whether it is a row of probabilities, (n,) bool."""
    if output.ndim != 2 or output.shape[1] < 2:
        return torch.zeros(len(output), dtype=torch.bool, device=output.device)
    rows = output.float()
    tolerance = 1e-4 if output.dtype == torch.float32 else 2e-2
    return (rows >= 0).all(1) & (rows <= 1 + tolerance).all(1) & ((rows.sum(1) - 1).abs() < tolerance)


def _reordered(answers: Tensor, labels: Tensor, classes: int) -> float:
    """Percent right where each answered class is named by the label that it meets most, no label twice."""
    pairs = torch.bincount(answers * classes + labels, minlength=classes * classes).reshape(classes, classes)
    right = 0
    for _ in range(classes):
        place = int(pairs.argmax())
        row, column = divmod(place, classes)
        right += int(pairs[row, column])
        pairs[row, :], pairs[:, column] = -1, -1
    return 100 * right / max(len(labels), 1)
