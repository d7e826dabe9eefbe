"""What a training tells while it runs. It prints nothing itself."""

from __future__ import annotations

from typing import Any

from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import Setup
from layerlink.transfer import Losses


class Watch:
    """Is told what happens, and does nothing about it; those that do override what they need."""

    def begin(self, setup: Setup, run: RunFolder, epoch: int) -> None:
        """Training begins, or goes on, at ``epoch`` (from 0)."""

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """Step ``step`` of ``epoch`` (both from 0) is done by all students of a cohort; ``losses`` are the first's."""

    def epoch(self, run: RunFolder, row: dict[str, Any]) -> None:
        """An epoch of a run is done; ``row`` is its row of metrics."""

    def done(self, run: RunFolder, result: dict[str, Any]) -> None:
        """A run is finished, and its result written."""

    def tell(self, text: str) -> None:
        """Something to know."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Something that comes before the training, or between epochs, is done for ``done`` of ``total`` images."""

    def warn(self, text: str, run: RunFolder | None = None) -> None:
        """Something to know, with its number and what to change; of ``run``, where it is about one."""


class PassingOn(Watch):
    """Tells another watch everything; those that do something beside override that and call it.

    Args:
        watch: is told.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def begin(self, setup: Setup, run: RunFolder, epoch: int) -> None:
        """As of a watch."""
        self.watch.begin(setup, run, epoch)

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """As of a watch."""
        self.watch.step(epoch, step, images, losses)

    def epoch(self, run: RunFolder, row: dict[str, Any]) -> None:
        """As of a watch."""
        self.watch.epoch(run, row)

    def done(self, run: RunFolder, result: dict[str, Any]) -> None:
        """As of a watch."""
        self.watch.done(run, result)

    def tell(self, text: str) -> None:
        """As of a watch."""
        self.watch.tell(text)

    def progress(self, what: str, done: int, total: int) -> None:
        """As of a watch."""
        self.watch.progress(what, done, total)

    def warn(self, text: str, run: RunFolder | None = None) -> None:
        """As of a watch."""
        self.watch.warn(text, run)
