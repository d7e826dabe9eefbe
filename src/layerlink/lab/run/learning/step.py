"""A training step, for whoever makes one: the loop, a verification, a bench."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from layerlink.data import Batch
from layerlink.lab.run.setup.setup import Setup
from layerlink.taps import Activations, Tap
from layerlink.taps.program import next_step
from layerlink.taps.randomness import seeded
from layerlink.teachers import Teacher
from layerlink.transfer import Losses


def set_time(setup: Setup, batch: Batch) -> None:
    """Let the run's links end and fade as they do at this step."""
    time = (batch.epoch or 0) + batch.step / len(setup.batches)
    setup.distiller.at(time, setup.recipe.training.epochs)


def taught_for(teacher: Teacher | None, setups: Iterable[Setup], batch: Batch) -> Activations | None:
    """One pass of the teacher over a batch, for all that its students ask at this step; None where none asks.

    A step begins here.
    """
    next_step()
    wanted: dict[Tap, None] = {}
    for setup in setups:
        set_time(setup, batch)
        wanted.update(dict.fromkeys(setup.distiller.wanted))
    if teacher is None or not wanted:
        return None
    # What a teacher draws, if it draws, follows from the step: the same alone, in a cohort, and after a resume.
    with seeded(((batch.epoch or 0) << 24) + batch.step):
        return teacher(batch.inputs, tuple(wanted), indices=_indices(teacher, batch))


def _indices(teacher: Teacher, batch: Batch) -> Tensor:
    """Of the host, for a teacher that reads rows there."""
    if batch.places is None or not getattr(teacher, "reads_on_host", False):
        return batch.indices
    return torch.from_numpy(batch.places)


def losses_of(setup: Setup, batch: Batch, taught: Activations | None, studied: Activations | None = None) -> Losses:
    """The losses of a batch, in the run's arithmetic, with their graph."""
    with setup.arithmetic():
        losses: Losses = setup.distiller(
            batch.images,
            batch.labels,
            indices=batch.indices,
            taught=taught,
            studied=studied,
            views=setup.recipe.data.views,
        )
    return losses
