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
from layerlink.config.image_size import ImageSize, shown
from layerlink.data import TextSet, TextViews, Views
from layerlink.data.examples import Examples
from layerlink.data.images import images_of
from layerlink.data.preprocessing import Preprocessing
from layerlink.data.text.preprocessing import TextPreprocessing
from layerlink.data.text.sequences import SequenceSet
from layerlink.design.export.pictures import TakenImages
from layerlink.design.export.portable import Portable, portable
from layerlink.design.export.samples import spread
from layerlink.design.export.taking import Taking
from layerlink.design.export.texts import TakenTexts, longest_of, longest_taken, refuse_of_images
from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.reading.evaluation import set_up_again, views_of
from layerlink.lab.run.setup.machine import describe_machine
from layerlink.lab.run.setup.setup import Setup
from layerlink.models import MODELS, build_model
from layerlink.taps import Observed
from layerlink.taps.modes import evaluating
from layerlink.tasks import Task

TEST_EXAMPLES = 2_000  # that a file is compared on
CALIBRATION_EXAMPLES, CALIBRATION_BATCH = 512, 32


@dataclass(frozen=True)
class Subject:
    """A run's student, ready to be written.

    Args:
        model: that is written, on the CPU.
        folded: batch norms that became part of the layer before them.
        facts: of the student and its inputs, to be kept in the file.
        task: what outputs mean.
        test: examples to compare on.
        all_test: how many there are of which these are some.
        train: some of these calibrate.
        taking: how the file takes examples, and how the student does.
        student: the student as it was trained.
        student_output: the element of its output that holds the logits; empty where that is plain.
        teacher: gives answers to stored examples; None where there is none.
        machine: what made the files.
    """

    model: Portable
    folded: int
    facts: dict[str, Any]
    task: Task
    test: Examples
    all_test: int
    train: Examples
    taking: Taking
    student: nn.Module
    student_output: str
    teacher: Callable[[Examples], Tensor] | None
    machine: dict[str, Any]

    def answer(self, part: Examples) -> Tensor:
        """What the student gives for stored examples, in float32."""
        return self.observed.logits(self.taking.seen(part))

    @property
    def observed(self) -> Observed:
        """The student as it was trained, as it is read."""
        return Observed(self.student, "student", output=self.student_output)

    def example(self) -> dict[str, Tensor]:
        """Two training examples as the file takes them."""
        return self.taking.taken(self.taking.example(self.train))

    def calibration(self) -> list[tuple[Tensor, ...]]:
        """Batches of training examples as the file takes them."""
        chosen = spread(self.train, CALIBRATION_EXAMPLES)
        starts = range(0, len(chosen), CALIBRATION_BATCH)
        parts = [chosen.select(slice(start, start + CALIBRATION_BATCH)) for start in starts]
        return [tuple(self.taking.taken(part).values()) for part in parts]


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
    train, all_test = setup.images.train, setup.images.test
    if isinstance(train, SequenceSet):
        raise UsageError(
            "a language model is not exported yet. layerlink.load(RUN).model.save_pretrained(FOLDER) writes it as "
            "transformers and what reads its folders take it"
        )
    taking: Taking
    test: Examples
    if isinstance(train, TextSet):
        refuse_of_images(size, preprocessing)
        taking, student, test = _taken_texts(setup), setup.distiller.student, spread(all_test, TEST_EXAMPLES)
        model, folded = _portable(setup, student, taking, None)
    else:
        of_images, student, (model, folded) = _taken_images(setup, size, preprocessing)
        images = spread(images_of(all_test, "exporting"), TEST_EXAMPLES)
        test = images.relabelled(of_images.views.labels(images.labels[:]))  # maps of labels are scaled
        taking = of_images
    _check_output(setup, model, tuple(taking.taken(taking.example(train)).values()))
    return Subject(
        model=model,
        folded=folded,
        facts={**_facts(run, setup), **taking.facts()},
        task=setup.task,
        test=test,
        all_test=len(all_test),
        train=train,
        taking=taking,
        student=student,
        student_output=setup.recipe.student.logits,
        teacher=_teacher(setup),
        machine=describe_machine(torch.device("cpu"), "float32"),
    )


def _portable(setup: Setup, student: nn.Module, taking: Taking, inside: Preprocessing | None) -> tuple[Portable, int]:
    example = taking.taken(taking.example(setup.images.train))
    output = setup.recipe.student.logits
    return portable(student.cpu().eval(), example, output=output, preprocessing=inside)


def _taken_images(
    setup: Setup, size: int | None, preprocessing: bool
) -> tuple[TakenImages, nn.Module, tuple[Portable, int]]:
    """How images are taken, the student for their size, and what is written of it."""
    seen = setup.images.pixels[1]
    views = dataclasses.replace(seen, augment="none", image_size=size or seen.image_size)
    taking = TakenImages(views.image_size, views, preprocessing)
    try:
        student = _student(setup, views.image_size)
        return taking, student, _portable(setup, student, taking, taking.preprocessing if preprocessing else None)
    except LayerlinkError as error:
        if size is None or size == seen.image_size:
            raise
        raise UsageError(f"--size {size}: {error}. It was trained on {shown(seen.image_size)} pixels") from error


def _taken_texts(setup: Setup) -> TakenTexts:
    views = setup.images.views
    train = setup.images.train
    assert isinstance(views, TextViews) and isinstance(train, TextSet)  # noqa: S101, PT018 - texts have such views
    longest = longest_taken(setup.distiller.student.cpu().eval(), views, longest_of(train))
    how = TextPreprocessing(views.tokenizer, views.vocabulary, longest, setup.recipe.data.tables.columns)
    return TakenTexts(views, how, longest)


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


def _check_output(setup: Setup, model: nn.Module, example: tuple[Tensor, ...]) -> None:
    with torch.no_grad():
        problems = setup.task.problems(model(*example).shape, len(setup.images.train.classes))
    if problems:
        raise UsageError(f"the student {problems[0]}")


def _facts(run: RunFolder, setup: Setup) -> dict[str, Any]:
    environment = run.read_environment() if run.environment.exists() else {}
    return {
        "layerlink": layerlink.__version__,
        "commit": environment.get("commit"),
        "model": setup.recipe.student.model,
        "task": json.loads(setup.recipe.task.model_dump_json()),
        "score": setup.task.score.facts(),
        "classes": list(setup.images.train.classes),
        "output": "logits",
    }


def _teacher(setup: Setup) -> Callable[[Examples], Tensor] | None:
    """The teacher's answers to stored examples, as it saw them in training; None where it gives none of the task."""
    observed, seen = setup.teacher, setup.images.views
    if observed is None or not setup.teacher_answers:
        return None
    views = dataclasses.replace(views_of(observed, seen), augment="none") if isinstance(seen, Views) else seen

    def answer(part: Examples) -> Tensor:
        with evaluating(observed.model), observed.arithmetic():
            return observed.logits(views(part.rows(slice(None))))

    return answer
