"""What a report reads of runs: their folders as plain values. A damaged file is named, never a traceback."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from layerlink.data import ImageSet, SequenceSet, TextSet
from layerlink.errors import LayerlinkError
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.recipe.texts import TEXT
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.ownership import recipe_of_run
from layerlink.tasks import Score

_KINDS = tuple(kind.noun for kind in (ImageSet, TextSet, SequenceSet))
State = Literal["finished", "failed", "unfinished", "damaged"]
Pair = tuple[int, str]  # a seed, and what computed with it: runs of one pair differ by their rows alone


_GENERATION = re.compile(r"(?: \((?:family|implementer) [^()]*\))? with \w+(?=,|$)")  # see ``processor_name``


@dataclass(frozen=True)
class RunRecord:
    """One run, as its folder tells it.

    Args:
        folder: as the user named it, or below what the user named.
        seed: of the run.
        state: a run counts in statistics only where it is finished.
        reason: why it is not finished; empty where it is.
        recipe: the resolved recipe; None where it is missing or damaged.
        result: as in ``result.json``; empty unless finished.
        metrics: one mapping an epoch; what is no number is left out.
        environment: versions, commit, hardware and command; empty where the file is missing.
        warnings: what the run warned of, a text each.
        machine: what of the machine makes another kind of it: its generation, which earlier versions did
            not write down, and its arithmetic, unless that is what rows differ in.
    """

    folder: Path
    seed: int
    state: State
    reason: str = ""
    recipe: Recipe | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Mapping[str, float], ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    machine: tuple[str, ...] = ("generation", "arithmetic")

    @property
    def score(self) -> Score:
        """By which the run is told to be good."""
        return Score.of(self.result.get("score"))

    @property
    def noun(self) -> str:
        """What it was trained on: images, texts or sequences."""
        told = self.result.get("examples")
        if told in _KINDS:
            return str(told)
        if self.recipe is None or self.recipe.data.name != TEXT:
            return ImageSet.noun
        return SequenceSet.noun if self.recipe.is_causal else TextSet.noun

    @property
    def processor(self) -> str:
        """The kind of processor and the precision that it was trained with; empty where nobody wrote them down."""
        model = re.sub(r", \d+ cores, \d+ threads$", "", str(self.environment.get("hardware") or ""))
        if "generation" not in self.machine:
            model = _GENERATION.sub("", model)
        kind = str(self.environment.get("device") or "").partition(":")[0]
        arithmetic = (kind, str(self.environment.get("precision") or "")) if "arithmetic" in self.machine else ()
        return ", ".join(filter(None, (model, *arithmetic)))

    @property
    def tells_generation(self) -> bool:
        """Whether its processor is told more exactly than by name; a GPU's name tells all."""
        on_gpu = not str(self.environment.get("device") or "cpu").startswith("cpu")
        return on_gpu or _GENERATION.search(str(self.environment.get("hardware") or "")) is not None

    def number(self, name: str) -> float | None:
        """A number of the result; None where the run is not finished or its result has none of that name."""
        value = self.result.get(name)
        return float(value) if value is not None and is_number(value) else None


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seed alone.

    Args:
        name: as shown.
        changes: what tells it from other rows, by dotted recipe field.
        runs: one a seed.
        baseline: whether the others are compared with it.
        published: the score of the test images that the source gives for it.
        source: where ``published`` was published.
    """

    name: str
    changes: Mapping[str, Any]
    runs: tuple[RunRecord, ...]
    baseline: bool = False
    published: float | None = None
    source: str = ""

    @property
    def finished(self) -> tuple[RunRecord, ...]:
        """The runs that count."""
        return tuple(run for run in self.runs if run.state == "finished")

    def values(self, name: str | None = None) -> dict[int, float]:
        """A number of every finished run's result, by seed; by default the score of the test images."""
        found = {run.seed: run.number(name or f"test_{run.score.name}") for run in self.finished}
        return {seed: value for seed, value in found.items() if value is not None}

    def pairs(self, name: str | None = None) -> dict[Pair, float]:
        """The same by seed and processor: on another kind, or in another precision, a seed draws other numbers."""
        values = self.values(name)
        return {(run.seed, run.processor): values[run.seed] for run in self.finished if run.seed in values}


def told_apart(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """The rows, with what makes machines other kinds: what all of them tell, and no row is about."""
    machine = []
    if all(run.tells_generation for row in rows for run in row.finished):
        machine.append("generation")
    if not any(field in row.changes for row in rows for field in ("precision", "device")):
        machine.append("arithmetic")
    return tuple(replace(row, runs=tuple(replace(run, machine=tuple(machine)) for run in row.runs)) for row in rows)


def read_record(folder: Path, seed: int | None = None) -> RunRecord:
    """The run in ``folder``. What is missing or damaged in it becomes its state and reason.

    Args:
        folder: of the run; need not exist where a sweep has not come to it.
        seed: that the run is known to have; None: as its recipe says.
    """
    run = RunFolder(folder)
    try:
        recipe = recipe_of_run(run).recipe if run.recipe.exists() else None
        wrong = (
            "" if recipe is None or seed in (None, recipe.seed) else f"it is a run of seed {recipe.seed}, not {seed}"
        )
    except LayerlinkError as error:
        recipe, wrong = None, _one_line(str(error))
    metrics, trouble = _metrics(run)
    state, reason, result = _outcome(run, wrong)
    if state == "unfinished" and recipe is not None:
        reason = f"{len(metrics)} of {recipe.training.epochs} epochs are done"
    try:
        environment = run.read_environment() if run.environment.exists() else {}
    except LayerlinkError as error:
        environment, trouble = {}, (*trouble, _one_line(str(error)))
    return RunRecord(
        folder=folder,
        seed=recipe.seed if seed is None and recipe is not None else seed or 0,
        state=state,
        reason=reason,
        recipe=recipe,
        result=result,
        metrics=metrics,
        environment=environment,
        warnings=(*_lines(run, run.warnings), *trouble),
    )


def _outcome(run: RunFolder, wrong: str) -> tuple[State, str, dict[str, Any]]:
    if wrong:
        return "damaged", wrong, {}
    if run.result.exists():
        try:
            result = run.read_result()
        except LayerlinkError as error:
            return "damaged", _one_line(str(error)), {}
        return "finished", "", result
    if run.failure.exists():
        return "failed", " ".join(_lines(run, run.failure)) or "no reason was written down", {}
    return "unfinished", "not begun", {}


def _metrics(run: RunFolder) -> tuple[tuple[dict[str, float], ...], tuple[str, ...]]:
    """The epochs, and what is wrong with their file."""
    try:
        rows = run.read_metrics()
    except LayerlinkError as error:
        return (), (f"{_one_line(str(error))}; its curves are left out",)
    if any(None in row for row in rows):
        return (), (f"{run.metrics} is damaged: a row has more entries than columns; its curves are left out",)
    return tuple(
        {name: value for name, text in row.items() if (value := _number(text)) is not None} for row in rows
    ), ()


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def is_number(value: Any) -> bool:
    """Whether a value read from JSON or a recipe is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _lines(run: RunFolder, path: Path) -> tuple[str, ...]:
    try:
        text = run.read_text(path, errors="replace") if path.exists() else ""
    except OSError as error:
        return (f"{path} cannot be read ({error})",)
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _one_line(text: str) -> str:
    return " ".join(text.split())
