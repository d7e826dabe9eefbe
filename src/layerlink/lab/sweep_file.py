"""Sweep files: from a file and key=value texts to the checked recipe of every run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlink.errors import Problem, ProblemsError, UsageError
from layerlink.lab.recipe_file import LoadedRecipe, load_recipe
from layerlink.lab.sweep import Row, Sweep, plan_rows
from layerlink.lab.yaml_file import Change, Place, dotted, parse_yaml, read_as, read_overrides, read_source, shipped

SHARED_WITH_TEACHER = ("data", "device", "precision")  # what is set for the runs is set for their teacher's run too


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
        name: the file's name without its ending.
        source: the file as the user named it.
        folder: of the sweep.
        runs: all of them, seed by seed.
        teacher: the recipe to train first; None where the runs bring their teacher or need none.
    """

    sweep: Sweep
    name: str
    source: str
    folder: Path
    runs: tuple[Planned, ...]
    teacher: LoadedRecipe | None

    @property
    def teacher_folder(self) -> Path:
        """Of the run that is trained first."""
        return self.folder / "teacher"


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
    changes = read_overrides(overrides, problems)
    of_sweep = [_in_sweep(change) for change in changes if change.place[0] in Sweep.model_fields]
    of_runs = [change for change in changes if change.place[0] not in Sweep.model_fields]
    tree, name = _read_tree(source)
    try:
        sweep = read_as(Sweep, tree, source, of_sweep, [])
    except ProblemsError as error:
        raise ProblemsError(source, [*problems, *error.problems]) from None
    problems += _overridden_axes(sweep, of_runs)
    folder = (out or Path("runs") / name).expanduser()
    base = _beside(sweep.base, source)
    set_in_file = [_change(field, value, f"set in {source}") for field, value in sweep.set.items()]
    teacher = _teacher(sweep, source, [*set_in_file, *of_runs], problems)
    from_teacher = _teacher_changes(teacher, folder / "teacher")
    runs = []
    for seed in sweep.seeds:
        for row in plan_rows(sweep):
            origin = f"row {row.name!r} of {source}"
            own = [_change(field, value, origin) for field, value in row.changes.items()]
            everything = [*set_in_file, *own, Change(("seed",), seed, f"seeds of {source}"), *of_runs]
            try:
                loaded = _load(base, everything, from_teacher)
            except ProblemsError as error:
                problems += [told for problem in error.problems if (told := _of(base, problem)) not in problems]
                continue
            runs.append(Planned(row, loaded, folder / f"{row.folder}-{seed}"))
    if problems:
        raise ProblemsError(source, problems)
    return Plan(sweep, name, source, folder, tuple(runs), teacher)


def _load(base: str, changes: Sequence[Change], from_teacher: Sequence[Change]) -> LoadedRecipe:
    loaded = load_recipe(base, changes=changes)
    if loaded.recipe.teacher is None or not from_teacher or _brings_teacher(changes):
        return loaded
    return load_recipe(base, changes=[*from_teacher, *changes])


def _of(source: str, problem: Problem) -> Problem:
    """A problem of another file; its line would be read as one of the sweep's."""
    if problem.line is None:
        return problem
    return Problem(f"{source}, line {problem.line}: {problem.where}", problem.what)


def _read_tree(source: str) -> tuple[Any, str]:
    """The file's tree, laid over that of the sweep it is ``like``."""
    text, name = read_source(source, "sweep")
    tree = parse_yaml(text, source)
    like = tree.pop("like", None)
    if like is None:
        return tree, name
    if not isinstance(like, str):
        raise ProblemsError(source, [Problem("like", f"must be a sweep's name or file; got {like!r}")])
    under, _ = _read_tree(_beside(like, source))
    for key, value in tree.items():
        both = isinstance(value, dict) and isinstance(under.get(key), dict) and key == "set"
        under[key] = {**under[key], **value} if both else value
    return under, name


def _beside(name: str, source: str) -> str:
    """``name``, as a file beside the sweep's where there is one."""
    file = Path(source).parent / name
    return str(file) if source not in shipped("sweep") and file.is_file() else name


def _in_sweep(change: Change) -> Change:
    """The change with the dotted names of recipe fields put together again: ``axes.soft.temperature``."""
    whole = {"axes": 1, "set": 1, "rows": 2, "baselines": 2, "train_teacher": 2}.get(str(change.place[0]))
    if whole is None or len(change.place) <= whole:
        return change
    head, field = change.place[:whole], dotted(change.place[whole:])
    if change.place[0] == "train_teacher" and change.place[1] != "set":
        return change
    return dataclasses.replace(change, place=(*head, field))


def _change(field: str, value: Any, origin: str) -> Change:
    place: Place = tuple(int(part) if part.isdigit() else part for part in field.split("."))
    return Change(place, value, origin)


def _overridden_axes(sweep: Sweep, changes: Iterable[Change]) -> list[Problem]:
    fields = [*sweep.axes, "seed"]
    return [
        Problem(change.origin, f"{field} is what this sweep varies: change {_place_of(field)} in its place")
        for change in changes
        for field in fields
        if field == dotted(change.place)
    ]


def _place_of(field: str) -> str:
    return "seeds" if field == "seed" else f"axes.{field}"


def _teacher(sweep: Sweep, source: str, changes: Sequence[Change], problems: list[Problem]) -> LoadedRecipe | None:
    """The recipe of the teacher's run, where it is needed."""
    if sweep.train_teacher is None or _brings_teacher(changes):
        return None
    shared = [change for change in changes if change.place[0] in SHARED_WITH_TEACHER]
    own = [_change(name, value, f"train_teacher of {source}") for name, value in sweep.train_teacher.set.items()]
    try:
        return load_recipe(_beside(sweep.train_teacher.recipe, source), changes=[*shared, *own])
    except ProblemsError as error:
        problems += [_of(f"teacher {sweep.train_teacher.recipe}", problem) for problem in error.problems]
    except UsageError as error:
        problems.append(Problem("train_teacher.recipe", str(error)))
    return None


def _brings_teacher(changes: Iterable[Change]) -> bool:
    return any(change.place == ("teacher", "weights") for change in changes)


def _teacher_changes(teacher: LoadedRecipe | None, folder: Path) -> list[Change]:
    """What the runs' teacher section says when the sweep trains the teacher itself."""
    if teacher is None:
        return []
    student = teacher.recipe.student
    values = {"model": student.model, "arguments": student.arguments, "logits": student.logits, "weights": str(folder)}
    return [Change(("teacher", field), value, "the teacher's run") for field, value in values.items()]
