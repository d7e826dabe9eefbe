"""What a trained model does: predictions, accuracy, agreement, dead layers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from layerlink.data import Batches, ImageSet, Views
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.paths import expanded
from layerlink.files.weights import load_weights
from layerlink.lab.parallel.processes import here
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.images import Images
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.transfer import Distiller, LiveTeacher

EVALUATION_BATCH = 256
DEAD = 0.99  # share of zeros; layers of healthy networks were seen at 0.46 to 0.74


def predict(
    model: nn.Module,
    images: ImageSet,
    setup_images: Images,
    arithmetic: AbstractContextManager[Any],
    logits: str = "",
) -> Tensor:
    """The class that ``model`` finds most likely. Processes that train together take a part of the images each.

    Args:
        model: gives logits for a batch of images.
        images: which.
        setup_images: holds the views.
        arithmetic: the context to run in.
        logits: element of the model's output that holds the logits.

    Returns:
        (N,) int64, in the images' order, on their device.
    """
    reader = Distiller(None, model, student_logits=logits)
    own = here().part(len(images))
    mine = ImageSet(images.images[own], images.labels[own], images.classes)
    batches = Batches(mine, setup_images.views, EVALUATION_BATCH)
    found = [images.labels.new_zeros(own.start)]
    with evaluating(model), arithmetic:
        for batch in batches.in_order():
            scores = reader.study(batch.images).logits
            assert scores is not None  # noqa: S101 - asked for by hard=1
            found.append(scores.argmax(dim=1))
    found.append(images.labels.new_zeros(len(images) - own.stop))
    return here().sum(torch.cat(found))


def percent_equal(first: Tensor, second: Tensor) -> float:
    """Share of equal entries, in percent."""
    return 100 * float((first == second).double().mean())


def validation_accuracy(model: nn.Module, setup: Setup) -> float:
    """Accuracy on the validation images, in percent."""
    images = setup.images.validation
    found = predict(model, images, setup.images, setup.arithmetic(), setup.recipe.student.logits)
    return percent_equal(found, images.labels)


def read_test(model: nn.Module, setup: Setup) -> dict[str, Any]:
    """What is read from the test images: the student's accuracy; with a teacher, its accuracy and agreement."""
    images = setup.images.test
    student = predict(model, images, setup.images, setup.arithmetic(), setup.recipe.student.logits)
    reading: dict[str, Any] = {
        "test_accuracy": percent_equal(student, images.labels),
        "test_images": len(images),
    }
    teacher = setup.distiller.teacher
    if isinstance(teacher, LiveTeacher):
        taught = _teacher_answers(teacher.model, setup)
        reading["teacher_test_accuracy"] = percent_equal(taught, images.labels)
        reading["agreement"] = percent_equal(student, taught)
    return reading


def _teacher_answers(teacher: nn.Module, setup: Setup) -> Tensor:
    """The teacher's classes for the test images; the students of a cohort ask for the same ones."""
    state = [*teacher.parameters(), *teacher.buffers()]
    asked = _Asked(setup.images.test.images, setup.images.views, setup.precision, sum(t._version for t in state))
    known = _ANSWERS.get(teacher)
    if known is None or not known[0].same_as(asked):
        element = setup.recipe.teacher.logits if setup.recipe.teacher else ""
        answers = predict(teacher, setup.images.test, setup.images, setup.arithmetic(), element)
        known = _ANSWERS[teacher] = asked, answers
    return known[1]


@dataclass(frozen=True, eq=False)
class _Asked:
    """What a teacher's answers depend on; ``version`` counts the changes to its weights."""

    images: Tensor
    views: Views
    precision: str
    version: int

    def same_as(self, other: _Asked) -> bool:
        rest = (self.views, self.precision, self.version) == (other.views, other.precision, other.version)
        return self.images is other.images and rest


_ANSWERS: WeakKeyDictionary[nn.Module, tuple[_Asked, Tensor]] = WeakKeyDictionary()


def _set_up_again(run: RunFolder, overrides: Sequence[str] = ()) -> Setup:
    """A finished run's setup with its trained student, and with its own normalisation.

    Neither the weights that the student began with nor the teacher are needed for that; where the teacher is gone,
    the setup has none.
    """
    loaded = load_recipe(str(run.recipe), overrides)
    recipe = loaded.recipe
    changes: dict[str, Any] = {"student": recipe.student.model_copy(update={"weights": None})}
    weights = recipe.teacher.weights if recipe.teacher else None
    if weights is not None and not expanded(weights).exists():
        changes |= {"teacher": None, "soft": None, "links": (), "hard": 1.0}
    setup = set_up(dataclasses.replace(loaded, recipe=recipe.model_copy(update=changes)))
    load_weights(setup.distiller.student, run.path)
    return as_the_run_saw(setup, run)


def as_the_run_saw(setup: Setup, run: RunFolder) -> Setup:
    """The setup with the normalisation that the run was trained with."""
    if not run.data.exists():
        return setup
    seen = run.read_data()
    channels = setup.images.train.images.shape[1]
    for name in ("mean", "std"):
        if not _is_statistic(seen.get(name), channels):
            raise LayerlinkError(f"{run.data} is damaged: {name} must be {channels} numbers; got {seen.get(name)!r}")
    views = dataclasses.replace(setup.images.views, mean=tuple(seen["mean"]), std=tuple(seen["std"]))
    return dataclasses.replace(setup, images=dataclasses.replace(setup.images, views=views))


def _is_statistic(value: Any, channels: int) -> bool:
    numbers = value if isinstance(value, list) and len(value) == channels else [None]
    return all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)


def predict_test(run: RunFolder) -> Tensor:
    """The classes that a finished run's student gives the test images of its recipe: (N,) int64."""
    setup = _set_up_again(run)
    model = setup.distiller.student
    return predict(model, setup.images.test, setup.images, setup.arithmetic(), setup.recipe.student.logits)


def evaluate_run(run: RunFolder, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a finished run's student again, on the images and with the arithmetic of its recipe.

    Args:
        run: the folder.
        overrides: ``key=value`` texts over its recipe, such as another ``data.root``.

    Returns:
        As ``read_test``, with validation accuracy, parameters and the recorded test accuracy.

    Raises:
        UsageError: where the run is not finished.
    """
    recorded = run.read_result()
    if not run.recipe.exists():
        raise UsageError(f"{run.path} has lost its {run.recipe.name}, which says what model and data it is")
    setup = _set_up_again(run, overrides)
    model = setup.distiller.student
    return {
        **read_test(model, setup),
        "validation_accuracy": validation_accuracy(model, setup),
        "validation_images": len(setup.images.validation),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "recorded_test_accuracy": recorded["test_accuracy"],
    }


def dead_layers(model: nn.Module, setup: Setup) -> dict[str, float]:
    """The layers that give next to nothing but zeros for a batch of validation images.

    Returns:
        The share of zeros, ``DEAD`` or more, by layer. Of layers inside each other only the outermost is named.
    """
    sample = setup.images.validation.images[:EVALUATION_BATCH]
    dead: dict[str, float] = {}

    def look(name: str) -> Any:
        # Looked at in the hook: a later layer may overwrite the value in place.
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.numel():
                zeros = float((output.detach() == 0).double().mean())
                if zeros >= DEAD:
                    dead[name] = zeros

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    try:
        with evaluating(model), setup.arithmetic():
            model(setup.images.views(sample))
    finally:
        for handle in handles:
            handle.remove()
    return {name: zeros for name, zeros in dead.items() if not any(name.startswith(f"{outer}.") for outer in dead)}
