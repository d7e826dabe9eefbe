"""What of a finished run is exported, and what it is compared on."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import layerlink
from layerlink.config.image_size import ImageSize, shown, sides
from layerlink.data import ImageSet, Views
from layerlink.data.images import images_of
from layerlink.data.preprocessing import Preprocessing
from layerlink.design.export.portable import Portable, portable
from layerlink.design.export.samples import as_seen, pixels, spread
from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.run.evaluation import set_up_again, views_of
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.machine import describe_machine
from layerlink.lab.run.setup.setup import Setup
from layerlink.models import MODELS, build_model
from layerlink.taps import Observed
from layerlink.taps.modes import evaluating
from layerlink.tasks import Task

TEST_IMAGES = 2_000  # that a file is compared on
CALIBRATION_IMAGES, CALIBRATION_BATCH = 512, 32
IMAGES = "images"  # the input's name


@dataclass(frozen=True)
class Subject:
    """A run's student, ready to be written.

    Args:
        model: that is written, on the CPU.
        folded: batch norms that became part of the layer before them.
        facts: of the student and its inputs, to be kept in the file.
        task: what outputs mean.
        test: images to compare on, of ``all_test`` that there are, and ``train`` some to calibrate on.
        size: pixels that the student takes, of a square or (height, width).
        views: how it sees images.
        takes_bytes: whether the file normalises by itself.
        student: the student as it was trained; ``teacher`` gives answers to stored images, where there is one.
        machine: what made the files.
    """

    model: Portable
    folded: int
    facts: dict[str, Any]
    task: Task
    test: ImageSet
    all_test: int
    train: ImageSet
    size: ImageSize
    views: Views
    takes_bytes: bool
    student: nn.Module
    student_output: str
    teacher: Callable[[Tensor], Tensor] | None
    machine: dict[str, Any]

    def taken(self, images: Tensor) -> Tensor:
        """Stored images as the file takes them: (N, C, size, size), uint8 or float32."""
        ready = pixels(images, self.size)
        return ready if self.takes_bytes else as_seen(ready, self.views)

    def seen(self, images: Tensor) -> Tensor:
        """Stored images as the student sees them, from the same pixels."""
        return as_seen(pixels(images, self.size), self.views)

    def answer(self, images: Tensor) -> Tensor:
        """What the student gives for stored images, in float32."""
        return self.observed.logits(self.seen(images))

    @property
    def observed(self) -> Observed:
        """The student as it was trained, as it is read."""
        return Observed(self.student, "student", output=self.student_output)

    def calibration(self) -> list[tuple[Tensor, ...]]:
        """Batches of training images as the file takes them."""
        chosen = spread(self.train, CALIBRATION_IMAGES).images
        return [(self.taken(part),) for part in torch.split(chosen, CALIBRATION_BATCH)]


def subject_of(
    run: RunFolder,
    overrides: Sequence[str] = (),
    *,
    trust_code: bool = False,
    size: int | None = None,
    preprocessing: bool = False,
) -> Subject:
    """A finished run's student with what it is to be compared on.

    Args:
        run: the folder.
        overrides: ``key=value`` texts over its recipe, such as another ``data.root``.
        trust_code: whether code that the folder names may be called, where this user did not make the run.
        size: pixels a side that the file is to take; None: as it was trained.
        preprocessing: whether the file takes bytes and normalises them itself.

    Raises:
        UsageError: where the run is not finished, or the student takes no such size.
        LayerlinkError: where it cannot be copied or run on the CPU.
    """
    run.read_result()
    setup = set_up_again(run, overrides, trust_code=trust_code)
    train, seen = images_of(setup.images.train, "exporting"), setup.images.pixels[1]
    trained, views = seen.image_size, dataclasses.replace(seen, augment="none", image_size=size or seen.image_size)
    images = pixels(train.images[:2], views.image_size)
    example = {IMAGES: images if preprocessing else as_seen(images, views)}
    output, how = setup.recipe.student.logits, Preprocessing(views.image_size, views.mean, views.std)
    try:
        student = _student(setup, views.image_size).cpu().eval()
        model, folded = portable(student, example, output=output, preprocessing=how if preprocessing else None)
    except LayerlinkError as error:
        if size is None or size == trained:
            raise
        raise UsageError(f"--size {size}: {error}. It was trained on {shown(trained)} pixels") from error
    _check_output(setup, model, example[IMAGES])
    return Subject(
        model=model,
        folded=folded,
        facts=_facts(run, setup, how, preprocessing),
        task=setup.task,
        test=_labelled(spread(images_of(setup.images.test, "exporting"), TEST_IMAGES), views),
        all_test=len(setup.images.test),
        train=train,
        size=views.image_size,
        views=views,
        takes_bytes=preprocessing,
        student=student,
        student_output=output,
        teacher=_teacher(setup),
        machine=describe_machine(torch.device("cpu"), "float32"),
    )


def _labelled(images: ImageSet, views: Views) -> ImageSet:
    """Images with their labels as views of their size have them: maps of labels are scaled."""
    return dataclasses.replace(images, labels=views.labels(images.labels))


def _student(setup: Setup, size: ImageSize) -> nn.Module:
    """The trained student; one of the project's own, which are made for one size, made again for another."""
    trained, section, (train, views) = setup.distiller.student, setup.recipe.student, setup.images.pixels
    if size == views.image_size or section.model not in MODELS:
        return copy.deepcopy(trained)
    made = {"num_classes": len(train.classes), "channels": train.images.shape[1], **section.arguments}
    model = build_model(section.model, **{**made, "image_size": size})
    try:
        model.load_state_dict(trained.state_dict())
    except RuntimeError as error:
        reason = str(error).strip().split("\n")[-1].strip()
        raise UsageError(f"the student's weights are those of one size: {reason}") from None
    return model


def _check_output(setup: Setup, model: nn.Module, example: Tensor) -> None:
    with torch.no_grad():
        problems = setup.task.problems(model(example).shape, len(setup.images.train.classes))
    if problems:
        raise UsageError(f"the student {problems[0]}")


def _facts(run: RunFolder, setup: Setup, how: Preprocessing, inside: bool) -> dict[str, Any]:
    train = setup.images.train
    environment = run.read_environment() if run.environment.exists() else {}
    return {
        "layerlink": layerlink.__version__,
        "commit": environment.get("commit"),
        "model": setup.recipe.student.model,
        "task": json.loads(setup.recipe.task.model_dump_json()),
        "score": setup.task.score.facts(),
        "classes": list(train.classes),
        "input": {
            "name": IMAGES,
            "dtype": "uint8" if inside else "float32",
            "shape": ["batch", how.channels, *sides(how.image_size)],
        },
        "preprocessing": {**how.facts(), "inside": inside},
        "output": "logits",
    }


def _teacher(setup: Setup) -> Callable[[Tensor], Tensor] | None:
    """The teacher's answers to stored images, as it saw them in the training; None where it gives none of the task."""
    observed = setup.teacher
    if observed is None or not setup.teacher_answers:
        return None
    views = dataclasses.replace(views_of(observed, setup.images.pixels[1]), augment="none")

    def answer(images: Tensor) -> Tensor:
        with evaluating(observed.model), observed.arithmetic():
            return observed.logits(views(images))

    return answer
