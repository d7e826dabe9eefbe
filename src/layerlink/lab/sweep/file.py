"""Sweep files: from a file and key=value texts to the checked recipe of every run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerlink.config.changes import Change, dotted
from layerlink.errors import Problem, ProblemsError
from layerlink.files.paths import why_impossible
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.sweep.family import LoadedFamily, problem_of, read_family
from layerlink.lab.sweep.schema import Row, Sweep, plan_rows


@dataclass(frozen=True)
class Planned:
    """A run of a sweep.

    Args:
        row: what it stands for.
        loaded: its recipe.
        folder: its run's folder.
    """

    row: Row
    loaded: LoadedRecipe
    folder: Path

    @property
    def seed(self) -> int:
        """The recipe's seed."""
        return self.loaded.recipe.seed


@dataclass(frozen=True)
class Plan:
    """Everything that a sweep will run.

    Args:
        sweep: the file, with changes.
        family: what its runs share: name, folder, teacher.
        runs: all of them, seed by seed.
    """

    sweep: Sweep
    family: LoadedFamily
    runs: tuple[Planned, ...]

    @property
    def folder(self) -> Path:
        """Of the sweep."""
        return self.family.folder


def load_sweep(source: str, overrides: Sequence[str] = (), *, out: Path | None = None) -> Plan:
    """Read and check a sweep and the recipe of each of its runs.

    Args:
        source: path of a YAML file, or the name of a shipped sweep.
        overrides: ``key=value`` texts. A key that begins with a field of the sweep (``seeds``, ``axes.FIELD``,
            ``set.FIELD``, ...) changes the sweep; any other is a field of every run's recipe.
        out: the sweep's folder; ``runs/NAME`` by default.

    Raises:
        UsageError: where there is no such file.
        ProblemsError: everything that is wrong, with lines.
    """
    problems: list[Problem] = []
    sweep, family = read_family(Sweep, source, overrides, out, problems)
    problems += _overridden_axes(sweep, family.of_runs)
    runs = []
    for seed in sweep.seeds:
        for row in plan_rows(sweep):
            try:
                loaded = family.recipe({**row.changes, "seed": seed}, f"row {row.name!r} of {source}")
            except ProblemsError as error:
                told = [problem_of(family.base, problem) for problem in error.problems]
                problems += [problem for problem in told if problem not in problems]
                continue
            folder = family.folder / f"{row.folder}-{seed}"
            if why := why_impossible(folder):
                problems.append(Problem(f"row {row.name[:60]!r}...", f"its runs have no folder: {why}"))
            runs.append(Planned(row, loaded, folder))
    if problems:
        raise ProblemsError(source, problems)
    return Plan(sweep, family, tuple(runs))


def _overridden_axes(sweep: Sweep, changes: Iterable[Change]) -> list[Problem]:
    where = {**{field: f"axes.{field}" for field in sweep.axes}, "seed": "seeds"}
    return [
        Problem(change.origin, f"{field} is what this sweep varies: change {place} in its place")
        for change in changes
        for field, place in where.items()
        if field == dotted(change.place)
    ]
