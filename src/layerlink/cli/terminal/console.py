"""What is printed: tables, a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import rich.console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from layerlink.cli.terminal.epochs import epoch_lines
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import Setup
from layerlink.lab.run.watch import Watch
from layerlink.printable import in_a_shell, one_line
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
        self._header, self._noun = "", "images"
        self._clock = self._last_line = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line; on a terminal that it is too wide for, between words and under the text that it begins with."""
        text = one_line(text)
        for line in broken(text, self.rich.width) if self.rich.is_terminal else [text]:
            (self._bar.console if self._bar else self.rich).print(Text(line), soft_wrap=True)

    def say_under(self, header: str, line: str) -> None:
        """Print a line of columns; their header only where it is another one than that of the line before."""
        if header != self._header:
            self.say(header)
        self._header = header
        self.say(line)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, rest: str = "") -> None:
        """Print a table; columns of numbers are set to the right.

        Args:
            columns: their names.
            rows: a text a column.
            rest: where the last columns stand, which are left out of a terminal that is too narrow for them; empty
                where all are to be shown, folded.
        """
        fitting = fitting_columns(columns, rows, self.rich.width) if rest else len(columns)
        left_out, columns, rows = columns[fitting:], columns[:fitting], [row[:fitting] for row in rows]
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for name in columns:
            table.add_column(Text(one_line(name)))
        for column, cells in zip(table.columns, zip(*rows, strict=True), strict=False):
            column.justify = "right" if all(cell[:1].isdigit() or cell in ("", "-") for cell in cells) else "left"
            column.overflow = "fold"
        for row in rows:
            table.add_row(*[Text(one_line(cell)) for cell in row])
        self.rich.print(table)
        if left_out:
            self.say(f"{rest}, too: {'; '.join(left_out)}")

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
        self._score, self._header, self._noun = setup.task.score, "", setup.images.train.noun
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
        rate = f"{self._images / max(now - self._clock, 1e-9):,.0f} {self._noun}/s"
        if self._bar and self._task is not None:
            done = epoch * self._steps + step + 1
            self._bar.update(self._task, completed=done, rate=rate, description=f"epoch {epoch + 1}/{self._epochs}")
        elif now - self._last_line > SECONDS_BETWEEN_LINES:
            self.say(f"epoch {epoch + 1}/{self._epochs}   step {step + 1}/{self._steps}   {rate}   {losses}")
            self._last_line = now

    def epoch(self, run: RunFolder, row: dict[str, Any]) -> None:
        """An epoch is done."""
        self.say_under(
            *epoch_lines(row, epochs=self._epochs, score=self._score, width=self.rich.width, noun=self._noun)
        )
        self._clock = self._last_line = time.monotonic()
        self._images = 0

    def tell(self, text: str) -> None:
        """Something to know."""
        self.say(text)

    def progress(self, what: str, done: int, total: int) -> None:
        """Something before the training is done for so many."""
        now = time.monotonic()
        if self._bar and self._task is not None:
            self._bar.update(self._task, description=f"{what}: {done:,} of {total:,}")
        elif now - self._last_line > SECONDS_BETWEEN_LINES:
            self.say(f"{what}: {done:,} of {total:,}")
            self._last_line = now
        if done == total:
            self._clock = self._last_line = now  # the training's speed counts from here

    def warn(self, text: str, run: RunFolder | None = None) -> None:
        """Something to mend."""
        self.say(f"warning: {text}")

    def result(self, run: RunFolder, result: dict[str, Any]) -> None:
        """The run is done."""
        score = Score.of(result.get("score"))
        taught = result.get(f"teacher_test_{score.name}")
        teacher = "" if taught is None else f" (teacher {score.show(taught)})"
        read = score.show(result[f"test_{score.name}"])
        self.say(f"test {score.words} {read}{teacher} of {result['test_images']:,} {result.get('examples', 'images')}")
        self.say(f"saved {run.path}    next: layerlink evaluate {in_a_shell(run.path)}")


def fitting_columns(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> int:
    """How many of the first columns a line of so many characters holds; 2 at least.

    >>> fitting_columns(["a", "b", "c"], [["12345", "12345", "12345"]], 20)
    2
    """
    end = 0
    for count, cells in enumerate(zip(columns, *rows, strict=True)):
        end += max(len(one_line(cell)) for cell in cells) + 3
        if end - 3 > width and count >= 2:
            return count
    return len(columns)


def broken(text: str, width: int) -> list[str]:
    """A line in pieces of at most ``width`` characters, where its words allow; all but the first set in as its text is.

    >>> broken("data    digits: 1,293 train / 360 test", 30)
    ['data    digits: 1,293 train /', '        360 test']
    """
    label = re.match(r" *\S+ {3,}| *", text)
    indent = " " * len(label[0]) if label and len(label[0]) < width // 2 else ""
    pieces = [""]
    for word in re.findall(r" *[^ ]+", text):
        if len(pieces[-1]) + len(word) <= width or not pieces[-1].strip():
            pieces[-1] += word
        else:
            pieces.append(indent + word.lstrip())
    return pieces
