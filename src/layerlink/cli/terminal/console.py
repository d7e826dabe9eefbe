"""What is printed: tables, a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import rich.console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from layerlink.lab.run.folder import RunFolder, is_term
from layerlink.lab.run.setup.setup import Setup
from layerlink.lab.run.watch import Watch
from layerlink.printable import one_line
from layerlink.tasks import ACCURACY, Score
from layerlink.transfer import Losses

SECONDS_BETWEEN_LINES = 30  # without a terminal


class Console(Watch):
    """Prints, and watches trainings. Names are printed as typed: no markup, no wrapping in the middle.

    Args:
        announce: name every run when it begins, where several follow each other.
        silent: print nothing: another process does.
    """

    def __init__(self, *, announce: bool = False, silent: bool = False) -> None:
        self._announce = announce
        # Without a terminal there is no width to fit into: nothing is cut.
        width = None if sys.stdout is not None and sys.stdout.isatty() else 400
        self.rich = rich.console.Console(highlight=False, markup=False, soft_wrap=True, width=width, quiet=silent)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._epochs = self._steps = self._images = 0
        self._score = ACCURACY
        self._clock = self._last_line = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line."""
        (self._bar.console if self._bar else self.rich).print(Text(one_line(text)), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table; columns of numbers are set to the right."""
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for name in columns:
            table.add_column(Text(one_line(name)))
        for column, cells in zip(table.columns, zip(*rows, strict=True), strict=False):
            column.justify = "right" if all(cell[:1].isdigit() or cell in ("", "-") for cell in cells) else "left"
            column.overflow = "fold"
        for row in rows:
            table.add_row(*[Text(one_line(cell)) for cell in row])
        self.rich.print(table)

    def __enter__(self) -> Console:
        if self.rich.is_terminal and not self.rich.quiet:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:3.0f} %  {task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("left in all"),
                console=self.rich,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def begin(self, setup: Setup, run: RunFolder, epoch: int) -> None:
        """Training begins, or goes on."""
        self._epochs, self._steps = setup.recipe.training.epochs, len(setup.batches)
        self._score = setup.task.score
        if self._announce:
            self.say(f"{setup.loaded.source}   {setup.recipe.student.model}   {run.path}")
        if epoch:
            self.say(f"{run.path} goes on with epoch {epoch + 1}")
        self._clock = self._last_line = time.monotonic()
        self._images = 0
        if self._bar:
            if self._task is not None:
                self._bar.remove_task(self._task)
            total = self._epochs * self._steps
            self._task = self._bar.add_task("", total=total, completed=epoch * self._steps, rate="")

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """A step is done."""
        self._images += images
        now = time.monotonic()
        rate = f"{self._images / max(now - self._clock, 1e-9):,.0f} images/s"
        if self._bar and self._task is not None:
            done = epoch * self._steps + step + 1
            self._bar.update(self._task, completed=done, rate=rate, description=f"epoch {epoch + 1}/{self._epochs}")
        elif now - self._last_line > SECONDS_BETWEEN_LINES:
            self.say(f"epoch {epoch + 1}/{self._epochs}   step {step + 1}/{self._steps}   {rate}   {losses}")
            self._last_line = now

    def epoch(self, run: RunFolder, row: dict[str, Any]) -> None:
        """An epoch is done."""
        terms = "  ".join(f"{_short(name)} {value:.4g}" for name, value in row.items() if is_term(name))
        name = self._score.name
        train, validation = row.get(f"train_{name}"), short_score(self._score, row[f"validation_{name}"])
        self.say(
            f"epoch {row['epoch']:>3}/{self._epochs}   validation {validation}   "
            f"{'' if train is None else f'train {short_score(self._score, train)}   '}"
            f"{row['images_per_second']:,.0f} images/s   {terms}"
        )
        self._clock = self._last_line = time.monotonic()
        self._images = 0

    def tell(self, text: str) -> None:
        """Something to know."""
        self.say(text)

    def progress(self, what: str, done: int, total: int) -> None:
        """Something before the training is done for so many images."""
        now = time.monotonic()
        if self._bar and self._task is not None:
            self._bar.update(self._task, description=f"{what}: {done:,} of {total:,} images")
        elif now - self._last_line > SECONDS_BETWEEN_LINES:
            self.say(f"{what}: {done:,} of {total:,} images")
            self._last_line = now
        if done == total:
            self._clock = self._last_line = now  # the training's speed counts from here

    def warn(self, text: str) -> None:
        """Something to mend."""
        self.say(f"warning: {text}")

    def result(self, run: RunFolder, result: dict[str, Any]) -> None:
        """The run is done."""
        score = Score.of(result.get("score"))
        taught = result.get(f"teacher_test_{score.name}")
        teacher = "" if taught is None else f" (teacher {score.show(taught)})"
        read = score.show(result[f"test_{score.name}"])
        self.say(f"test {score.words} {read}{teacher} of {result['test_images']:,} images")
        self.say(f"saved {run.path}    next: layerlink evaluate {run.path}")


def short_score(score: Score, value: float) -> str:
    """A score as it stands in a line of progress: percent with one digit, in a column.

    >>> short_score(ACCURACY, 7.25)
    '  7.2 %'
    """
    return f"{value:5.1f} %" if score.unit == "%" else score.show(value)


def _short(name: str) -> str:
    return name.partition(" :")[0]
