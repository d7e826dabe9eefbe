"""What is asked on the command line, a recipe or two models, as models and real data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from layerlink.design.propose.proposing import Looked, look
from layerlink.design.question import check_one_teacher, recipe_of_models, recipe_of_run, training_batches
from layerlink.errors import UsageError
from layerlink.files.paths import expanded
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import Setup
from layerlink.models import MODELS
from layerlink.teachers import FrozenTeacher

BATCHES = 4


def load_question(names: Sequence[str], overrides: Sequence[str], *, trust_code: bool = False) -> LoadedRecipe:
    """The recipe that is asked about, its links left out.

    Args:
        names: a recipe's file or shipped name, or a teacher and a student: models' names or package.module:callable;
            the teacher may be the folder of a finished run, too.
        overrides: ``key=value`` texts. Of two models ``data.name`` is cifar10 where there is a ``data.root``, else
            digits.
        trust_code: whether code that a run's folder names may be called, where this user did not make the run.

    Raises:
        ForeignCodeError: where a run's folder names code of somebody else.
        UsageError: where the names are none of these, or the recipe has no single frozen teacher.
        ProblemsError: everything that is wrong with the recipe.
    """
    if len(names) == 1 and (names[0] in MODELS or ":" in names[0] or expanded(Path(names[0])).is_dir()):
        raise UsageError(f"{names[0]} is a model; name its student, too: layerlink propose {names[0]} STUDENT")
    if len(names) not in (1, 2):
        raise UsageError(
            f"expected a recipe, or a teacher and a student, then key=value; got {' '.join(names) or 'nothing'}. "
            "Such as: layerlink propose resnet56 resnet20 data.root=~/cifar10 teacher.weights=resnet56.safetensors"
        )
    if len(names) == 1:
        loaded = load_recipe(names[0], overrides)
    elif expanded(Path(names[0])).is_dir():
        loaded = recipe_of_run(
            RunFolder(expanded(Path(names[0]))), names[1], overrides, "propose", trust_code=trust_code
        )
    else:
        loaded = recipe_of_models(names[0], names[1], overrides, name="propose")
    check_one_teacher(loaded, "links are proposed between one frozen teacher and its student")
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"links": ()}))


def look_at(setup: Setup, batches: int = BATCHES) -> Looked:
    """Both models on training examples, as they see them when they are not augmented.

    Args:
        setup: of the recipe.
        batches: how many, of the recipe's batch size.

    Raises:
        UsageError: where there are too few examples, or the models cannot be compared.
    """
    taught_by = setup.taught_by
    assert isinstance(taught_by, FrozenTeacher)  # noqa: S101 - load_question lets no other through
    looked = look(taught_by.observed, setup.student, training_batches(setup, batches), batches)
    return replace(looked, noun=setup.images.train.noun)
