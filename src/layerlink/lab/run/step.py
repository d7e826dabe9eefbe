"""A training step, for whoever makes one: the loop, a verification, a bench."""

from __future__ import annotations

from collections.abc import Iterable

from layerlink.data import Batch
from layerlink.lab.run.setup.setup import Setup
from layerlink.taps import Activations
from layerlink.teachers import Teacher
from layerlink.transfer import Distiller, Losses


def taught_for(teacher: Teacher | None, distillers: Iterable[Distiller], batch: Batch) -> Activations | None:
    """One pass of the teacher over a batch, for all that its students ask at this time; None where none asks."""
    wanted = tuple(dict.fromkeys(tap for distiller in distillers for tap in distiller.wanted))
    if teacher is None or not wanted:
        return None
    return teacher(batch.images, wanted, indices=batch.indices)


def losses_of(setup: Setup, batch: Batch, taught: Activations | None) -> Losses:
    """The losses of a batch, in the run's arithmetic, with their graph."""
    with setup.arithmetic():
        losses: Losses = setup.distiller(batch.images, batch.labels, taught=taught)
    return losses
