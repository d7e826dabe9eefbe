"""What is asked on the command line, a recipe or a teacher's name, as a recipe whose student is still the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from layerlink.config.shipped import shipped
from layerlink.design.question import check_one_teacher, recipe_of_models, recipe_of_run, training_batches
from layerlink.design.shrink.budget import Budget
from layerlink.design.shrink.shrinking import Shrunk, shrink
from layerlink.errors import Problem, UsageError, unknown_name
from layerlink.files.paths import expanded
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.recipe.models import StudentSection
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.images import load_images
from layerlink.lab.run.setup.machine import choose_device
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.lab.run.setup.teachers import build_teachers
from layerlink.models import MODELS
from layerlink.teachers import FrozenTeacher

BATCHES = 4


def load_teacher(names: Sequence[str], overrides: Sequence[str], *, trust_code: bool = False) -> LoadedRecipe:
    """The recipe that is asked about, without links, its student a model like the teacher.

    Args:
        names: one: a recipe's file or shipped name, a model's name, ``package.module:callable``,
            ``file.py:callable``, or the folder of a finished run, whose student is the teacher.
        overrides: ``key=value`` texts.
        trust_code: whether code that a run's folder names may be called, where this user did not make the run.

    Raises:
        UsageError: where it is none of these, or the recipe has no single frozen teacher.
        ForeignCodeError: where a run's folder names code of somebody else.
        ProblemsError: everything that is wrong with the recipe.
    """
    if len(names) != 1:
        raise UsageError(
            f"expected one teacher, then key=value; got {' '.join(names) or 'nothing'}. "
            "Such as: layerlink shrink resnet56 --params 0.33 data.root=~/cifar10 teacher.weights=resnet56.safetensors"
        )
    name = names[0]
    if name in MODELS or ":" in name:
        loaded = recipe_of_models(name, name, overrides, name="shrink")
    elif expanded(Path(name)).is_dir():
        loaded = recipe_of_run(RunFolder(expanded(Path(name))), None, overrides, "shrink", trust_code=trust_code)
    else:
        known = shipped("recipe")
        if name not in known and not Path(name).is_file():
            raise UsageError(unknown_name("model or recipe", name, [*MODELS, *known]))
        loaded = load_recipe(name, overrides)
    check_one_teacher(loaded, "a student is derived from one frozen teacher")
    teacher = loaded.recipe.teacher
    assert teacher is not None  # noqa: S101 - just checked
    student = StudentSection(
        model=teacher.model,
        arguments=teacher.arguments,
        weights=None,
        logits=teacher.logits,
        head=teacher.head,
        frozen=(),
    )
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"links": (), "student": student}))


def set_up_teacher(loaded: LoadedRecipe) -> Setup:
    """The recipe's teacher as its own code has it, in float32: no faster layers in place of its own.

    Raises:
        ProblemsError: everything that is wrong with models and data.
    """
    plain = replace(loaded, recipe=loaded.recipe.model_copy(update={"precision": "float32"}))
    problems: list[Problem] = []
    images = load_images(plain.recipe, choose_device(plain.recipe.device))
    teachers = build_teachers(plain, images, problems, [])
    if problems:
        raise plain.error(list(dict.fromkeys(problems)))
    return set_up(plain, teacher=teachers[""], images=images)


def shrink_teacher(setup: Setup, budget: Budget | None, *, start: str, batches: int = BATCHES) -> Shrunk:
    """The student of a recipe's teacher, fitted on training images that are not augmented.

    Args:
        setup: of the recipe.
        budget: what the student may cost; None: one layer of every run.
        start: as for ``shrink``.
        batches: how many, of the recipe's batch size.

    Raises:
        UsageError: as ``shrink``, and where the teacher sees images of another size.
    """
    taught_by = setup.taught_by
    assert isinstance(taught_by, FrozenTeacher)  # noqa: S101 - load_teacher lets no other through
    seen = [taught_by.observed.seen(images) for images in training_batches(setup, batches)]
    asked = {} if budget is None else {budget.kind: budget.share}
    return shrink(taught_by.model, seen, collapse=budget is None, start=start, **asked)
