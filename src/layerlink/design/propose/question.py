"""What is asked on the command line, a recipe or two models, as models and real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from layerlink.design.propose.proposing import Looked, look
from layerlink.design.question import check_one_teacher, recipe_of_models, training_batches
from layerlink.errors import UsageError
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run.setup.setup import Setup
from layerlink.models import MODELS
from layerlink.teachers import FrozenTeacher

BATCHES = 4


def load_question(names: Sequence[str], overrides: Sequence[str]) -> LoadedRecipe:
    """The recipe that is asked about, its links left out.

    Args:
        names: a recipe's file or shipped name, or a teacher and a student: models' names or package.module:callable.
        overrides: ``key=value`` texts. Of two models ``data.name`` is cifar10 where there is a ``data.root``, else
            digits.

    Raises:
        UsageError: where the names are none of these, or the recipe has no single frozen teacher.
        ProblemsError: everything that is wrong with the recipe.
    """
    if len(names) == 1 and (names[0] in MODELS or ":" in names[0]):
        raise UsageError(f"{names[0]} is a model; name its student, too: layerlink propose {names[0]} STUDENT")
    if len(names) not in (1, 2):
        raise UsageError(
            f"expected a recipe, or a teacher and a student, then key=value; got {' '.join(names) or 'nothing'}. "
            "Such as: layerlink propose resnet56 resnet20 data.root=~/cifar10 teacher.weights=resnet56.safetensors"
        )
    if len(names) == 1:
        loaded = load_recipe(names[0], overrides)
    else:
        loaded = recipe_of_models(names[0], names[1], overrides, name="propose")
    check_one_teacher(loaded, "links are proposed between one frozen teacher and its student")
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"links": ()}))


def look_at(setup: Setup, batches: int = BATCHES) -> Looked:
    """Both models on training images, as they see them when they are not augmented.

    Args:
        setup: of the recipe.
        batches: how many, of the recipe's batch size.

    Raises:
        UsageError: where there are too few images, or the models cannot be compared.
    """
    taught_by = setup.taught_by
    assert isinstance(taught_by, FrozenTeacher)  # noqa: S101 - load_question lets no other through
    return look(taught_by.observed, setup.student, training_batches(setup, batches), batches)
