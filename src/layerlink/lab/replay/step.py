"""The step to repeat, with all that it needs: made again from a checkpoint or the beginning."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from layerlink.data import Batch
from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.run.compiled.ways import compiled_again
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.learning.learner import Learner, NotFiniteError
from layerlink.lab.run.learning.step import taught_for
from layerlink.lab.run.resume import Position
from layerlink.lab.run.teaching.cohort_teacher import CohortTeacher
from layerlink.lab.run.watch import Watch
from layerlink.transfer import Activations

Place = tuple[int, int]


@dataclass(frozen=True)
class Step:
    """A step, about to be made.

    Args:
        batch: its images.
        state: the learner's before it, a copy.
        taught: what its teacher gave, as the run read it, from a store where it has one; None to ask the teacher.
        came_from: how it was found, in words.
    """

    batch: Batch
    state: Mapping[str, Any]
    taught: Activations | None
    came_from: str


def step_from(run: RunFolder, learner: Learner, teachers: CohortTeacher, until: Place, watch: Watch) -> Step:
    """The step at ``until``, or one before it whose loss or whose weights afterwards are not finite.

    Args:
        run: the folder; the last checkpoint that is not after ``until`` is begun from.
        learner: newly made; it learns up to the step.
        teachers: of its setup.
        until: epoch and step, from 0.
        watch: is told how far it is.

    Raises:
        UsageError: where the recipe has no such step.
    """
    setup = learner.setup
    batches, epochs = setup.batches, setup.recipe.training.epochs
    if not (0 <= until[0] < epochs and 0 <= until[1] < len(batches)):
        raise UsageError(
            f"{run.path} has {epochs} epochs of {len(batches)} steps; there is no epoch {until[0] + 1}, step "
            f"{until[1] + 1}"
        )
    (epoch, step), came_from, compiled = _begin(run, learner, until)
    learner.start_epoch(epoch)
    with compiled_again(learner, teachers.at(epoch, [setup]), (epoch, step), compiled):
        return _repeated((epoch, step), learner, teachers, until, watch, came_from)


def _repeated(
    place: Place, learner: Learner, teachers: CohortTeacher, until: Place, watch: Watch, came_from: str
) -> Step:
    (epoch, step), setup, done = place, learner.setup, 0
    batches = setup.batches
    total = (until[0] - epoch) * len(batches) + until[1] - step
    while True:
        learner.start_epoch(epoch)
        teacher = teachers.at(epoch, [setup])
        for batch in batches.epoch(epoch, step):
            before = copy.deepcopy(learner.unchecked_state())
            taught = taught_for(teacher, [setup], batch)
            found = Step(next(batches.epoch(epoch, batch.step)), before, taught, came_from)
            if (epoch, batch.step) == until:
                return found
            try:
                learner.step(batch, taught)
                learner.check_finite()
            except NotFiniteError:
                return found
            if not is_finite(learner):
                return found
            done += 1
            watch.progress("repeating steps", done, total)
        epoch, step = epoch + 1, 0


def load(learner: Learner, state: Mapping[str, Any]) -> None:
    """Put a learner where ``state`` says; the state itself stays as it is.

    Raises:
        LayerlinkError: where it is another model's.
    """
    try:
        learner.load_state_dict(copy.deepcopy(dict(state)))
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise LayerlinkError(f"what the run's folder keeps is of another model or version: {error}") from error


def is_finite(learner: Learner) -> bool:
    """Whether all weights and buffers of a learner are."""
    try:
        learner.check_weights()
    except NotFiniteError:
        return False
    return True


def _begin(run: RunFolder, learner: Learner, until: Place) -> tuple[Place, str, Mapping[str, Any]]:
    for path in run.checkpoints:
        with suppress(LayerlinkError, LookupError, TypeError, ValueError):  # a damaged one: the one before it
            known = run.read_checkpoint(path)
            position = Position.from_state(known["position"])
            if position.place <= until:
                load(learner, known["learner"])
                return position.place, f"{path.name}, and the steps since", position.compiled
    return (0, 0), "the beginning, and all steps since", {}
