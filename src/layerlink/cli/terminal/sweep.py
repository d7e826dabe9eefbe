"""What a sweep prints: a line an epoch for all students together, and a line for each that is done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from layerlink.cli.terminal.console import Console
from layerlink.cli.terminal.epochs import cohort_lines, epoch_lines
from layerlink.cli.terminal.setup import duration
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.setup import Setup
from layerlink.lab.sweep.expected import expected_costs
from layerlink.lab.sweep.file import Plan
from layerlink.lab.sweep.folder import run_state
from layerlink.lab.sweep.running import Outcome
from layerlink.printable import in_a_shell
from layerlink.tasks import Score
from layerlink.transfer import Losses


class SweepConsole(Console):
    """Watches cohorts."""

    def __init__(self, *, silent: bool = False) -> None:
        super().__init__(silent=silent)
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._begun: list[str] = []
        self._told: set[str] = set()
        self._longest = 0  # of the cohort's trainings, in epochs
        self._epoch_clock = time.monotonic()

    def begin(self, setup: Setup, run: RunFolder, epoch: int) -> None:
        """A student begins, or goes on."""
        if not self._begun:
            self.say(f"{setup.loaded.source}   {setup.device}, {setup.precision}")
            self._longest = 0
        self._begun.append(run.path.name)
        if not epoch:
            self.say(str(run.path))
        super().begin(setup, run, epoch)
        self._epochs = self._longest = max(self._longest, self._epochs)
        self._epoch_clock = time.monotonic()

    def step(self, epoch: int, step: int, images: int, losses: Losses) -> None:
        """A step of all students is done."""
        self._tell_epoch()
        super().step(epoch, step, images, losses)

    def epoch(self, run: RunFolder, row: dict[str, Any]) -> None:
        """A student's epoch is done; it is told when the others' are."""
        self._waiting.append((run.path.name, row))

    def warn(self, text: str, run: RunFolder | None = None) -> None:
        """Something to mend, of one of the students; what all have in common is told of the first."""
        if text not in self._told:
            super().warn(text if run is None else f"{run.path.name}: {text}", run)
        self._told.add(text)

    def done(self, run: RunFolder, result: dict[str, Any]) -> None:
        """A run is finished."""
        self._tell_epoch()
        self._begun = [name for name in self._begun if name != run.path.name]
        score = Score.of(result.get("score"))
        test, validation = (score.show(result[f"{part}_{score.name}"]) for part in ("test", "validation"))
        self.say(f"{run.path}   test {test}   validation {validation}")

    def _tell_epoch(self) -> None:
        if not self._waiting:
            return
        score, name = self._score, f"validation_{self._score.name}"
        ordered = sorted(self._waiting, key=lambda item: item[1][name] * (1 if score.higher_is_better else -1))
        (worst, low), (best, high) = ordered[0], ordered[-1]
        seconds = time.monotonic() - self._epoch_clock
        self._waiting, self._epoch_clock, self._images = [], time.monotonic(), 0
        self._clock = self._last_line = time.monotonic()
        if len(ordered) == 1:
            self.say_under(*epoch_lines(high, epochs=self._longest, score=score, width=self.rich.width))
            return
        lines = cohort_lines(
            (best, high[name]),
            (worst, low[name]),
            epoch=f"{high['epoch']:>{len(str(self._longest))}}/{self._longest}",
            students=len(ordered),
            seconds=seconds,
            score=score,
            names=max(len(name) for name in self._begun),
            width=self.rich.width,
        )
        self.say_under(*lines)


def show_outcomes(console: Console, plan: Plan, outcomes: Sequence[Outcome]) -> int:
    """Print how every run ended; how many failed."""
    failed = [outcome for outcome in outcomes if outcome.result is None]
    scores = [Score.of(outcome.result.get("score")) for outcome in outcomes if outcome.result]
    words = scores[0].words if scores else "score"
    rows = [(outcome.planned.row.name, str(outcome.planned.seed), _ended(outcome)) for outcome in outcomes]
    console.table(("row", "seed", f"test {words}"), rows)
    console.say(f"saved {plan.folder}    next: layerlink report {in_a_shell(plan.folder)}")
    if failed:
        console.warn(f"{len(failed)} of {len(outcomes)} runs failed; their reasons stand above")
    return len(failed)


def _ended(outcome: Outcome) -> str:
    if outcome.result is None:
        return f"failed: {outcome.failure}"
    score = Score.of(outcome.result.get("score"))
    return score.show(outcome.result[f"test_{score.name}"])


def show_plan(console: Console, plan: Plan) -> None:
    """Print what a sweep would run, what is done already, and the expected time."""
    if plan.family.teacher is not None:
        state = run_state(RunFolder(plan.family.teacher_folder))
        console.say(f"teacher    {plan.family.teacher.source}   {plan.family.teacher_folder}   {state}")
    rows = [(run.row.name, str(run.seed), run_state(RunFolder(run.folder)), str(run.folder)) for run in plan.runs]
    console.table(("row", "seed", "state", "folder"), rows)
    total = 0.0
    for cost in expected_costs(plan):
        total += cost.seconds
        console.say(
            f"cohort     {len(cost.runs)} runs, {cost.together} at a time: {cost.steps:,} steps; teacher "
            f"{cost.teacher_seconds:.3f} s, each student {cost.student_seconds:.3f} s; about {duration(cost.seconds)}"
        )
    untrained = plan.family.teacher is not None and not RunFolder(plan.family.teacher_folder).result.exists()
    more = "; the teacher's own training and validation not counted" if untrained else "; validation not counted"
    console.say(f"time       about {duration(total)} (one step of each cohort measured, nothing trained{more})")
