"""A written file against the model that it was written from: answers, score, time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from layerlink.data.examples import Examples
from layerlink.errors import LayerlinkError
from layerlink.measure.timing import Timing, measure_in_turn
from layerlink.tasks import Task
from layerlink.tasks.classification import percent_equal

BATCH = 128
Answering = Callable[[Examples], Tensor]  # what is given for images or texts, as they are stored


@dataclass(frozen=True)
class Read:
    """What some model gave for images or texts.

    Args:
        score: the task's.
        answers: that are compared for equality; None where the task has none.
    """

    score: float
    answers: Tensor | None

    def agreement(self, other: Read | None) -> float | None:
        """Equal answers in percent; None where there is nothing to compare."""
        if other is None or self.answers is None or other.answers is None or self.answers.shape != other.answers.shape:
            return None
        return percent_equal(self.answers, other.answers)


@dataclass(frozen=True)
class Compared:
    """A file beside the model.

    Args:
        file: what the file gave.
        largest_difference: between two outputs, over all examples.
        largest_output: of the model, to judge that by.
    """

    file: Read
    largest_difference: float
    largest_output: float


def read(answer: Answering, examples: Examples, task: Task) -> tuple[Read, list[Tensor]]:
    """What a model gives for images or texts, and its outputs batch by batch.

    Args:
        answer: the model.
        examples: which.
        task: says what outputs mean.
    """
    judged, answers, outputs = [], [], []
    for start in range(0, len(examples), BATCH):
        part = examples.select(slice(start, start + BATCH))
        output = answer(part).float().cpu()
        judged.append(task.judge(output, part.labels.cpu()))
        answered = task.answers(output)
        answers += [] if answered is None else [answered]
        outputs.append(output)
    score = task.summary(torch.cat(judged))[task.score.name]
    return Read(score, torch.cat(answers) if answers else None), outputs


def compare(answer: Answering, examples: Examples, task: Task, expected: list[Tensor]) -> Compared:
    """A file's answers beside those of the model.

    Args:
        answer: the file.
        examples: that the model answered.
        task: says what outputs mean.
        expected: what the model gave, as ``read`` gives it.

    Raises:
        LayerlinkError: where the shapes differ.
    """
    found, outputs = read(answer, examples, task)
    for output, wanted in zip(outputs, expected, strict=True):
        if output.shape != wanted.shape:
            raise LayerlinkError(f"the file gives {tuple(output.shape)} where the model gives {tuple(wanted.shape)}")
    pairs = list(zip(outputs, expected, strict=True))
    difference = max(float((output - wanted).abs().nan_to_num(nan=float("inf")).max()) for output, wanted in pairs)
    return Compared(found, difference, max(float(wanted.abs().max()) for wanted in expected))


@torch.no_grad()
def latencies(file: Callable[[], Any], model: Callable[[], Any], seconds: float) -> tuple[Timing, Timing]:
    """How long file and model take for a batch, in turn, so that what else the machine does hits both.

    Args:
        file: one call.
        model: one call.
        seconds: of measuring, about.
    """
    first, second = measure_in_turn([file, model], torch.device("cpu"), seconds)
    return first, second
