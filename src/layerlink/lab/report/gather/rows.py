"""Gathers runs into rows: those of a sweep as its manifest says, others by what their recipes share."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layerlink.data.examples import Examples
from layerlink.errors import UsageError, unknown_name
from layerlink.files.inside import PlaceError, inside
from layerlink.files.paths import expanded
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.report.gather.manifest import Manifest, read_manifest
from layerlink.lab.report.gather.records import Row, RunRecord, is_number, read_record, told_apart
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.sweep.folder import MANIFEST
from layerlink.tasks import ACCURACY, Score

__all__ = ["Gathered", "Row", "RunRecord", "gather", "read_record"]

DEPTH = 3  # folders below the one that was named
_NOTHING = (0, None, "none", "")  # what a field holds that does nothing
# Where the images lie and which seed it is does not make another row.
_NOT_A_DIFFERENCE = ("seed", "data.root", "data.download")


@dataclass(frozen=True)
class Gathered:
    """What the folders hold.

    Args:
        title: of the sweep, or of the folders.
        question: that the sweep answers; may be empty.
        rows: in the sweep's order, or by name.
        teacher: the run that taught them; None where it is not among the folders.
        axes: dotted fields of the recipe that take several numbers.
        commands: that repeat it, in order.
        notes: what a reader must know about the gathering itself.
    """

    title: str
    question: str
    rows: tuple[Row, ...]
    teacher: RunRecord | None
    axes: tuple[str, ...]
    commands: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def baseline(self) -> Row | None:
        """The row that the others are compared with."""
        return next((row for row in self.rows if row.baseline), None)

    def compared_with(self, name: str) -> Gathered:
        """The same, with the row of this name in the baseline's place.

        Raises:
            UsageError: where there is no such row, or it has no finished run.
        """
        known = {row.name: row for row in self.rows}
        if name not in known:
            raise UsageError(unknown_name("row", name, known))
        if not known[name].finished:
            raise UsageError(f"row {name!r} has no finished run to compare the others with")
        return replace(self, rows=tuple(replace(row, baseline=row.name == name) for row in self.rows))

    @property
    def score(self) -> Score:
        """By which rows are compared."""
        return next((run.score for run in self.runs if run.state == "finished"), ACCURACY)

    @property
    def noun(self) -> str:
        """What they were trained on: images, texts, sequences; examples where these differ."""
        nouns = {run.noun for run in self.runs if run.state == "finished"} or {run.noun for run in self.runs}
        return nouns.pop() if len(nouns) == 1 else Examples.noun

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """All runs of all rows."""
        return tuple(run for row in self.rows for run in row.runs)


def gather(folders: Sequence[Path]) -> Gathered:
    """Everything that the folders hold, as rows.

    Args:
        folders: of runs, of sweeps, or folders that hold such, up to three deep.

    Raises:
        UsageError: where a folder is missing, or none holds a run.
        LayerlinkError: where a sweep's manifest is damaged. A damaged run is a run with that state instead.
    """
    sweeps: dict[Path, Path] = {}
    runs: dict[Path, Path] = {}
    outside: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"there is no folder {folder}. Give folders of runs, such as: layerlink report runs")
        for found in _find(folder, folder, DEPTH, outside):
            (sweeps if (found / MANIFEST).exists() else runs).setdefault(found.resolve(), found)
    if not sweeps and not runs:
        names = ", ".join(map(str, folders))
        left_out = f". {outside[0]}" if outside else ""
        raise UsageError(
            f"no run in {names}, down to {DEPTH} folders deep (a run's folder holds recipe.yaml){left_out}"
        )
    manifests = [read_manifest(folder) for folder in sweeps.values()]
    gathered = _together(manifests, [read_record(folder) for folder in runs.values()], folders)
    gathered = replace(gathered, notes=(*gathered.notes, *outside))
    scores = dict.fromkeys((run.score.words, run.score.name) for run in gathered.runs if run.state == "finished")
    if len(scores) > 1:
        words = " and by ".join(words if words == name else f"{words} ({name})" for words, name in scores)
        raise UsageError(f"these runs are of different tasks, by {words}: report the folders of each by themselves")
    return replace(gathered, rows=told_apart(gathered.rows))


def _find(folder: Path, top: Path, depth: int, outside: list[str]) -> Iterator[Path]:
    """The folders of sweeps and runs at or below ``folder``; nothing inside of them, and none that a link out of
    ``top`` leads to, which ``outside`` takes."""
    try:
        inside(folder, top)
    except PlaceError as error:
        outside.append(f"{error}. To have it here, name it, too")
        return
    run = RunFolder(folder)
    if (folder / MANIFEST).exists() or run.recipe.exists() or run.result.exists() or run.failure.exists():
        yield folder
    elif depth:
        try:
            below = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        except OSError as error:
            raise UsageError(f"cannot look into {folder}: {error}") from error
        for entry in below:
            yield from _find(entry, top, depth - 1, outside)


def _together(manifests: list[Manifest], plain: list[RunRecord], folders: Sequence[Path]) -> Gathered:
    teacher, students = _without_teacher(plain, [run for each in manifests for row in each.rows for run in row.runs])
    rows, notes = _group(students)
    named = [(each.title, row) for each in manifests for row in each.rows] + [("", row) for row in rows]
    count = Counter(row.name for _, row in named)
    # Several sweeps in one report may use a name twice.
    rows = [
        replace(row, name=f"{row.name} ({title})") if title and count[row.name] > 1 else row for title, row in named
    ]
    alone = manifests[0] if len(manifests) == 1 and not plain else None
    commands = [each.command for each in manifests if each.command]
    commands += [str(run.environment["command"]) for run in plain if run.environment.get("command")]
    return Gathered(
        title=alone.title if alone else "Runs in " + ", ".join(map(str, folders)),
        question=alone.question if alone else "",
        rows=tuple(_one_baseline(rows)),
        teacher=next((each.teacher for each in manifests if each.teacher), teacher),
        axes=tuple(dict.fromkeys([*(axis for each in manifests for axis in each.axes), *_numeric_axes(rows)])),
        commands=tuple(dict.fromkeys(commands)),
        notes=tuple(notes),
    )


def _one_baseline(rows: list[Row]) -> list[Row]:
    """The first row that is marked stays the only one; where none is, the first that learns from labels alone."""
    marked = [row for row in rows if row.baseline]
    if not marked:
        alone = [row for row in rows if (recipe := _recipe(row)) and recipe.soft is None and not recipe.links]
        marked = alone if len(rows) > 1 else []
    return [replace(row, baseline=row is marked[0]) if marked else row for row in rows]


def _without_teacher(plain: list[RunRecord], others: list[RunRecord]) -> tuple[RunRecord | None, list[RunRecord]]:
    """The run whose weights taught others, and the rest.

    A recipe names its teacher by a path. Where that is gone, because the runs were copied or are read from another
    folder, a run of the same name with the same model is the teacher.
    """
    for run in [*plain, *others]:
        section = run.recipe.teacher if run.recipe else None
        if section is None or section.loaded_from is None:
            continue
        weights = expanded(section.loaded_from)
        folder = weights if weights.suffix != ".safetensors" else weights.parent
        for other in plain:
            same = other.recipe is not None and other.recipe.student.model == section.model
            if other.folder.resolve() == folder.resolve() or (
                same and not folder.exists() and other.folder.resolve().name == folder.name
            ):
                return other, [run for run in plain if run is not other]
    return None, plain


def _group(runs: list[RunRecord]) -> tuple[list[Row], list[str]]:
    """Rows of runs that no manifest names, and what was left out."""
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    notes = []
    for run in runs:
        fields = flat_recipe(run.recipe) if run.recipe else {"folder": str(run.folder)}
        group = groups[json.dumps(fields, sort_keys=True)]
        first = next((other for other in group if other.seed == run.seed), None)
        if first is None:
            group.append(run)
        else:
            notes.append(f"{run.folder} repeats {first.folder}, the same recipe and seed; it is left out")
    members = list(groups.values())
    changes = _changes([member[0].recipe for member in members])
    rows = [
        Row(name, change, tuple(sorted(member, key=lambda run: run.seed)))
        for name, change, member in zip(_names(members, changes), changes, members, strict=True)
    ]
    return rows, notes


def _names(members: list[list[RunRecord]], changes: list[dict[str, Any]]) -> list[str]:
    """The folder's name without its seed; where runs of a row disagree or rows clash, what tells them apart."""
    names = []
    for member in members:
        bases = {run.folder.resolve().name.removesuffix(f"-{run.seed}") for run in member}
        names.append(bases.pop() if len(bases) == 1 else "")
    count = Counter(names)
    told = [name if name and count[name] == 1 else _told(change) for name, change in zip(names, changes, strict=True)]
    count = Counter(told)
    return [
        name if name and count[name] == 1 else f"{name} {member[0].folder}".strip()
        for name, member in zip(told, members, strict=True)
    ]


def _told(change: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in change.items())


def _changes(recipes: Sequence[Recipe | None]) -> list[dict[str, Any]]:
    """For each recipe the fields in which the recipes differ."""
    flat = [flat_recipe(recipe) if recipe else {} for recipe in recipes]
    names = dict.fromkeys(name for fields in flat for name in fields)
    differing = [
        name
        for name in names
        if len({json.dumps(fields.get(name)) for fields in flat if fields}) > 1
        and any(fields.get(name) not in (None, "", {}, []) for fields in flat)
        and not _is_default_of_a_part(name, flat)
    ]
    return [{name: fields[name] for name in differing if name in fields} for fields in flat]


def _is_default_of_a_part(name: str, flat: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a field differs only because some recipes do not have its part, and says nothing in the others."""
    values = [fields[name] for fields in flat if name in fields]
    return len(values) < len([fields for fields in flat if fields]) and all(value in _NOTHING for value in values)


def recipe_differences(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """The fields in which the rows' recipes differ: by row's name, value by dotted field."""
    known = [(row.name, recipe) for row in rows if (recipe := _recipe(row)) is not None]
    return dict(zip([name for name, _ in known], _changes([recipe for _, recipe in known]), strict=True))


def flat_recipe(recipe: Recipe) -> dict[str, Any]:
    """A recipe's fields by dotted name, without those that do not make another row."""
    flat: dict[str, Any] = {}

    def add(value: Any, name: str) -> None:
        if isinstance(value, dict) and value:
            for key, item in value.items():
                add(item, f"{name}.{key}".lstrip("."))
        elif name not in _NOT_A_DIFFERENCE:
            flat[name] = value

    add(recipe.model_dump(mode="json", by_alias=True), "")
    return flat


def _recipe(row: Row) -> Recipe | None:
    return next((run.recipe for run in row.runs if run.recipe is not None), None)


def _numeric_axes(rows: Iterable[Row]) -> list[str]:
    """The changed fields that take at least two numbers."""
    taken: dict[str, set[float]] = defaultdict(set)
    for row in rows:
        for name, value in row.changes.items():
            if is_number(value):
                taken[name].add(float(value))
    return [name for name, values in taken.items() if len(values) > 1]
