"""What a verb is asked about, a recipe or models, as a recipe with one frozen teacher; and real images for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from layerlink.data.examples import Inputs
from layerlink.errors import UsageError
from layerlink.lab.recipe.file import LoadedRecipe, dump_recipe, load_recipe
from layerlink.lab.recipe.models import StudentSection, TeacherSection
from layerlink.lab.recipe.terms import HardSection, SoftSection
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import trusted_recipe_of_run
from layerlink.lab.run.setup.setup import Setup
from layerlink.measure.cka import LEAST

# Of two models alone; what is trained by it is to be changed by whoever trains it.
_MODELS = """\
data: {{name: {data}}}
teacher: {{model: {teacher}, weights: null}}
student: {{model: {student}}}
soft: {{temperature: 4}}
training: {{epochs: 10, lr: 0.05, nesterov: true, weight_decay: 0.0005, schedule: one-cycle, clip_norm: 5}}
"""


def recipe_of_models(teacher: str, student: str, overrides: Sequence[str], name: str) -> LoadedRecipe:
    """A recipe for two models by name.

    Args:
        teacher: its name, as recipes have it.
        student: the same.
        overrides: ``key=value`` texts. ``data.name`` is cifar10 where there is a ``data.root``, else digits.
        name: of the recipe.

    Raises:
        ProblemsError: everything that is wrong with it.
    """
    data = "cifar10" if any(text.startswith("data.root=") for text in overrides) else "digits"
    text = _MODELS.format(data=data, teacher=json.dumps(teacher), student=json.dumps(student))
    shown = " ".join(dict.fromkeys((teacher, student)))
    return replace(load_recipe(shown, overrides, text=text), name=name)


def recipe_of_run(
    run: RunFolder, student: str | None, overrides: Sequence[str], name: str, *, trust_code: bool = False
) -> LoadedRecipe:
    """A recipe in which a finished run's student is the teacher, on the run's data and trained as the run was.

    Args:
        run: the folder.
        student: its name, as recipes have it; None: a model like the teacher.
        overrides: ``key=value`` texts.
        name: of the recipe.
        trust_code: whether code that the folder names may be called, where this user did not make the run.

    Raises:
        UsageError: where the run is not finished.
        ForeignCodeError: where it names code of somebody else.
        ProblemsError: everything that is wrong with the overrides.
    """
    run.read_result()
    recipe = trusted_recipe_of_run(run, trust_code=trust_code).recipe
    own = recipe.student
    as_it_is = {"model": own.model, "arguments": own.arguments, "logits": own.logits, "head": own.head}
    changed = recipe.model_copy(
        update={
            "teacher": TeacherSection.model_validate({**as_it_is, "weights": str(run.path)}),
            "teachers": None,
            "peers": None,
            "student": StudentSection.model_validate({"model": student} if student is not None else as_it_is),
            "hard": HardSection.model_validate({}),
            "soft": SoftSection.model_validate({"temperature": 4}),
            "links": (),
        }
    )
    return replace(load_recipe(str(run.path), overrides, text=dump_recipe(changed, short=True)), name=name)


def check_one_teacher(loaded: LoadedRecipe, what: str) -> None:
    """Raise ``UsageError`` where a recipe has no single frozen teacher, which ``what`` says that it is needed for."""
    recipe = loaded.recipe
    if recipe.teacher is not None and recipe.frozen_teachers:
        return
    has = "several teachers" if recipe.teachers else "peers" if recipe.peers is not None else "no teacher"
    if recipe.teacher is not None:
        has = "the student's own average as its teacher"
    raise UsageError(f"{loaded.source} has {has}; {what}: teacher={{model: resnet56, weights: FILE}}")


def training_batches(setup: Setup, count: int) -> Iterator[Inputs]:
    """Random training examples: those of a source may lie class by class."""
    images = setup.images
    size = max(setup.recipe.training.batch_size, LEAST)
    order = torch.randperm(len(images.train), generator=torch.Generator().manual_seed(setup.recipe.seed))[
        : count * size
    ]
    for places in torch.split(order.to(images.device), size):
        if len(places) >= LEAST or len(order) < LEAST:
            yield images.seen(images.train, places)
