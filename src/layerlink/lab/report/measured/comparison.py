"""Teacher against student, measured: size, arithmetic, latency, confusion, similarity of their layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.data.examples import Inputs, first
from layerlink.errors import UsageError
from layerlink.files.paths import expanded
from layerlink.lab.recipe.augmenting import AugmentFields
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.models import EMA, ModelSection
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.report.gather.records import Row, RunRecord
from layerlink.lab.report.gather.rows import Gathered
from layerlink.lab.report.measured.maps import MapsShown, shown_maps
from layerlink.lab.report.measured.similarity import Alikeness, Similarity, linked_pairs
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import trusted_recipe_of_run
from layerlink.lab.run.reading.evaluation import as_the_run_saw, read_images
from layerlink.lab.run.setup.images import Images
from layerlink.lab.run.setup.machine import processor_name
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.measure.flops import count_flops, count_parameters
from layerlink.measure.latency import Latency, measure_latency
from layerlink.taps import Observed
from layerlink.tasks import ACCURACY, Score
from layerlink.tasks.classification import confusion, percent_equal
from layerlink.user_code import is_code

BATCHES = (1, 128)  # for latency


@dataclass(frozen=True)
class Measured:
    """What one model costs and does.

    Args:
        name: of its row, or "teacher".
        model: as the recipe names it.
        parameters: count.
        flops: of one example's forward pass.
        size: bytes of the file of its weights; 4 a parameter where it has no file of its own.
        latency: one a batch size.
        value: the score of the test images; None of a teacher whose output is not of the task.
        agreement: with the teacher, percent of the answers; None for the teacher, and where there are none.
        confusion: (C, C) examples, true class by answer; None where an example has not one class.
        with_teacher: (C, C) examples, the teacher's answer by the student's; None for the teacher.
        maps: (k, H, W), its answers to the images that are shown, where these are maps.
    """

    name: str
    model: str
    parameters: int
    flops: int
    size: int
    latency: tuple[Latency, ...]
    value: float | None
    agreement: float | None
    confusion: Tensor | None
    with_teacher: Tensor | None
    maps: Tensor | None = None


@dataclass(frozen=True)
class Measurements:
    """A teacher and some of its students.

    Args:
        teacher: measured.
        students: measured, in the order of their rows.
        similarity: of their layers, before and after training.
        classes: names, in the order of the confusions.
        images: how many validation examples the similarity is over.
        conditions: hardware, threads and precision, in words.
        score: of the task.
        shown: test images whose answers are maps; None where they are not.
        noun: what the examples are: images, texts, sequences.
    """

    teacher: Measured
    students: tuple[Measured, ...]
    similarity: tuple[Similarity, ...]
    classes: tuple[str, ...]
    images: int
    conditions: str
    score: Score
    shown: MapsShown | None = None
    noun: str = "images"

    @property
    def each(self) -> str:
        """One of the examples, with its article."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun.removesuffix('s')}"


def measure_rows(
    gathered: Gathered, rows: Sequence[Row], data: Path | None = None, *, trust_code: bool = False
) -> Measurements:
    """Measure the teacher and the first finished run of each row.

    Args:
        gathered: what ``rows`` are from; tells who the teacher is.
        rows: at least one, each with a finished run.
        data: folder of the images, where they are no longer where the recipes say.
        trust_code: whether code that the folders name may be called, where this user did not make the runs.

    Raises:
        UsageError: where there is no row.
        LayerlinkError: where images, weights or teacher are not there; the message says which.
        ForeignCodeError: where code would be called that is not trusted.
    """
    section = _teacher_section(gathered, trust_code)
    runs = [(row.name, row.finished[0]) for row in rows]
    recipes = [run.recipe for _, run in runs if run.recipe is not None]
    students: list[Measured] = []
    cells: list[Similarity] = []
    alike: Alikeness | None = None
    teacher, taught, images, model, precision, score = None, None, None, None, None, ACCURACY
    shown: MapsShown | None = None
    for name, run in runs:
        if run.recipe is not None and run.recipe.precision != precision:
            precision, model = run.recipe.precision, None  # a teacher's weights are held as its arithmetic wants them
        overrides = [] if data is None else [f"data.root={data}"]
        loaded = trusted_recipe_of_run(RunFolder(run.folder), overrides, trust_code=trust_code)
        setup = _set_up(run, loaded, section, images, model)
        images = setup.images if len({_pixels(recipe) for recipe in recipes}) == 1 else None
        assert setup.teacher is not None  # noqa: S101 - _set_up names one in the recipe
        model = setup.teacher.model
        if alike is None:
            alike = Alikeness(setup, setup.teacher, linked_pairs(recipes))
        score = setup.task.score
        if teacher is None or images is None:
            teacher, taught = _measure_teacher(setup, setup.teacher, section, gathered)
            shown = shown_maps(setup, taught) if not students else shown
        cells += alike.of_student(name, setup, run.folder)  # leaves the trained weights in the student
        students.append(_measure_student(name, run, setup, taught))
    if teacher is None or alike is None:
        raise UsageError("nothing to measure: no row has a finished run")
    classes, conditions = setup.images.test.classes, f"{processor_name(setup.device)}, {setup.precision}"
    return Measurements(
        *(teacher, tuple(students), tuple(cells), classes, alike.count, conditions, score, shown),
        noun=setup.images.test.noun,
    )


def _teacher_section(gathered: Gathered, trust_code: bool) -> ModelSection:
    """The teacher as a recipe names it, with weights that are there."""
    known, taught = gathered.teacher, [run for run in gathered.runs if run.recipe and run.recipe.teacher]
    there = known is not None and known.state == "finished" and known.recipe is not None
    if not taught and not there:
        raise UsageError("there is no teacher among these runs")
    sections = [run.recipe.teacher for run in taught if run.recipe and run.recipe.teacher]
    section: ModelSection | None = next((it for it in sections if not is_code(it.model)), None)
    if section is None:  # code, of whoever made the run that names it
        source = taught[0] if taught else known
        assert source is not None  # noqa: S101 - one of the two is there
        recipe = trusted_recipe_of_run(RunFolder(source.folder), trust_code=trust_code).recipe
        section = recipe.teacher if taught else recipe.student
    assert section is not None  # noqa: S101 - the recipe is that of the record
    if known is not None and there:
        return section.model_copy(update={"weights": known.folder})
    weights = section.loaded_from
    if section.model == EMA:
        raise UsageError("each student is taught by its own average: there is no teacher to compare with")
    if section.weights is None or (weights is not None and not expanded(weights).exists()):
        raise UsageError(f"the teacher's weights are not at {weights} (relative to where this command runs)")
    return section


def _set_up(
    run: RunRecord, loaded: LoadedRecipe, section: ModelSection, images: Images | None, teacher: nn.Module | None
) -> Setup:
    """The run's setup with its student as training began, and with the teacher, whether it was taught by it or not."""
    without_peers = {} if loaded.recipe.peers is None else {"peers": None, "links": ()}
    recipe = loaded.recipe.model_copy(update={"teacher": section, **without_peers})
    return as_the_run_saw(set_up(replace(loaded, recipe=recipe), images=images, teacher=teacher), RunFolder(run.folder))


def _pixels(recipe: Recipe) -> str:
    """What decides the images that a run reads."""
    drawn = {"root", "download", "augment", "crop_padding", *AugmentFields.model_fields}
    return f"{recipe.data.model_dump(exclude=drawn)} {recipe.device}"


def _measure_teacher(
    setup: Setup, teacher: Observed, section: ModelSection, gathered: Gathered
) -> tuple[Measured, Tensor | None]:
    name = f"test_{setup.task.score.name}"
    known = gathered.teacher.number(name) if gathered.teacher else None
    reading = read_images(teacher, setup) if setup.teacher_answers else None
    measured = Measured(
        name="teacher",
        model=section.model,
        value=reading.numbers[setup.task.score.name] if known is None and reading is not None else known,
        agreement=None,
        confusion=_confusion(setup, setup.images.test.labels, reading.answers if reading else None),
        with_teacher=None,
        maps=_maps(setup, reading.answers if reading else None),
        **_cost(teacher, setup, section.weights),
    )
    return measured, reading.answers if reading else None


def _measure_student(name: str, run: RunRecord, setup: Setup, taught: Tensor | None) -> Measured:
    answers = read_images(setup.student, setup).answers
    agreement = run.number("agreement")
    if agreement is None and answers is not None and taught is not None:
        agreement = percent_equal(answers, taught)
    return Measured(
        name=name,
        model=setup.recipe.student.model,
        value=float(run.result[f"test_{setup.task.score.name}"]),
        agreement=agreement,
        confusion=_confusion(setup, setup.images.test.labels, answers),
        with_teacher=None if taught is None else _confusion(setup, taught, answers),
        maps=_maps(setup, answers),
        **_cost(setup.student, setup, run.folder),
    )


def _maps(setup: Setup, answers: Tensor | None) -> Tensor | None:
    """The answers to the images that are shown, where they are maps."""
    shown = shown_maps(setup, answers)
    return None if shown is None or answers is None else answers[shown.places.to(answers.device)].cpu()


def _confusion(setup: Setup, rows: Tensor, answers: Tensor | None) -> Tensor | None:
    """How often classes meet, where every example has one."""
    if answers is None or not setup.task.one_class:
        return None
    return confusion(rows, answers, len(setup.images.test.classes))


def _cost(observed: Observed, setup: Setup, weights: Path | None) -> dict[str, Any]:
    model = observed.model
    file = expanded(weights) if weights else None
    if file is not None and file.is_dir():
        file = RunFolder(file).student
    parameters = count_parameters(model)
    batches = [observed.seen(_batch(setup, batch)) for batch in BATCHES]
    return {
        "parameters": parameters,
        "flops": count_flops(model, first(batches[0], 1), setup.arithmetic()),
        "size": file.stat().st_size if file is not None and file.exists() else 4 * parameters,
        "latency": tuple(measure_latency(model, batch, setup.arithmetic) for batch in batches),
    }


def _batch(setup: Setup, count: int) -> Inputs:
    """So many test examples, some of them more than once where there are fewer."""
    test = setup.images.test
    return setup.images.seen(test, torch.arange(count, device=test.labels.device) % len(test))
