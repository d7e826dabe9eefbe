"""Families: recipes that differ from one base in a few fields, and the teacher that is trained for them first."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, JsonValue

from layerlink.config.changes import Change, place_of, read_overrides
from layerlink.config.reading import read_as
from layerlink.config.shipped import read_source, shipped
from layerlink.config.text import parse_yaml
from layerlink.errors import Problem, ProblemsError, UsageError
from layerlink.files.paths import expanded
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.recipe.section import Section, Whole

SHARED_WITH_TEACHER = ("data", "device", "precision")  # what is set for the runs is set for their teacher's run too

Changes = dict[str, JsonValue]


class TeacherTraining(Section):
    """The run whose student becomes the teacher of the others."""

    recipe: str = Field(description="a recipe's file or shipped name")
    set: Changes = Field(default_factory=dict, description="fields of that recipe to change")


class Family(Section):
    """What sweeps and searches have in common."""

    base: str = Field(description="a recipe's file or shipped name")
    title: str = Field("", description="of the report")
    question: str = Field("", description="what is to be answered")
    set: Changes = Field(default_factory=dict, description="fields to change in every run, by dotted name")
    train_teacher: TeacherTraining | None = Field(
        None, description="trained first; runs with a teacher use it. Left out where teacher.weights is set"
    )
    cohort: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = Field(None, description="students on one teacher pass")


Kind = TypeVar("Kind", bound=Family)


@dataclass(frozen=True)
class LoadedFamily:
    """A family's file and everything that its runs share.

    Args:
        name: the file's name without its ending.
        source: the file as the user named it.
        folder: of all its runs.
        base: the recipe's file or name.
        common: changes of the file that every run takes over.
        of_runs: changes of the command line, which win over all others.
        teacher: the recipe to train first; None where the runs bring their teacher or need none.
        base_has_teacher: whether the base, as changed for all, names a teacher.
    """

    name: str
    source: str
    folder: Path
    base: str
    common: tuple[Change, ...]
    of_runs: tuple[Change, ...]
    teacher: LoadedRecipe | None
    base_has_teacher: bool

    @property
    def teacher_folder(self) -> Path:
        """Of the run that is trained first."""
        return self.folder / "teacher"

    def recipe(self, fields: Mapping[str, Any], origin: str) -> LoadedRecipe:
        """The recipe of a run.

        Args:
            fields: its own values, by dotted name.
            origin: who says so, for messages.

        Raises:
            ProblemsError: everything that is wrong with it.
        """
        changes = [*self.common, *changes_of(fields, origin), *self.of_runs]
        if self.teacher is not None and self.base_has_teacher:
            student = self.teacher.recipe.student
            made = {
                "teacher.model": student.model,
                "teacher.arguments": student.arguments,
                "teacher.logits": student.logits,
                "teacher.weights": str(self.teacher_folder),
            }
            changes = [*changes_of(made, "the teacher's run"), *changes]  # first: a row may say otherwise
        return load_recipe(self.base, changes=changes)


def read_family(
    schema: type[Kind], source: str, overrides: Sequence[str], out: Path | None, problems: list[Problem]
) -> tuple[Kind, LoadedFamily]:
    """Read a file of the family, and the recipe of its teacher.

    Args:
        schema: of the file; its name in small letters is the kind of shipped files.
        source: path of a YAML file, or the name of a shipped one.
        overrides: ``key=value`` texts. A key that begins with a field of the schema changes the file; any other is
            a field of every run's recipe.
        out: the folder; ``runs/NAME`` by default.
        problems: takes what is wrong but does not keep the rest from being checked.

    Raises:
        UsageError: where there is no such file.
        ProblemsError: where the file itself is wrong.
    """
    kind = schema.__name__.lower()
    changes = read_overrides(overrides, problems)
    of_file = [_in_file(change) for change in changes if change.place[0] in schema.model_fields]
    of_runs = tuple(change for change in changes if change.place[0] not in schema.model_fields)
    tree, name = _read_tree(source, kind)
    try:
        family = read_as(schema, tree, source, of_file, [])
    except ProblemsError as error:
        raise ProblemsError(source, [*problems, *error.problems]) from None
    folder = expanded(out or Path("runs") / name)
    common = tuple(changes_of(family.set, f"set in {source}"))
    teacher = _teacher(family, source, kind, [*common, *of_runs], problems)
    base = _beside(family.base, source, kind)
    has_teacher = _has_teacher(base, [*common, *of_runs])
    return family, LoadedFamily(name, source, folder, base, common, of_runs, teacher, has_teacher)


def _has_teacher(base: str, changes: Sequence[Change]) -> bool:
    try:
        return load_recipe(base, changes=changes).recipe.teacher is not None
    except ProblemsError:  # the runs will tell
        return False


def changes_of(fields: Mapping[str, Any], origin: str) -> list[Change]:
    """Values by dotted name as changes."""
    return [Change(place_of(field), value, origin) for field, value in fields.items()]


def problem_of(source: str, problem: Problem) -> Problem:
    """A problem of another file; its line would be read as one of the family's."""
    if problem.line is None:
        return problem
    return Problem(f"{source}, line {problem.line}: {problem.where}", problem.what)


def _read_tree(source: str, kind: str, above: tuple[str, ...] = ()) -> tuple[Any, str]:
    """The file's tree, laid over that of the file it is ``like``; ``above`` are the files that are like this one."""
    text, name = read_source(source, kind)
    tree = parse_yaml(text, source)
    like = tree.pop("like", None)
    if like is None:
        return tree, name
    if not isinstance(like, str):
        raise ProblemsError(source, [Problem("like", f"must be a {kind}'s name or file; got {like!r}")])
    other = _beside(like, source, kind)
    if other in (source, *above):
        raise ProblemsError(
            source, [Problem("like", f"{other} is like itself in the end; one of the files must be whole")]
        )
    under, _ = _read_tree(other, kind, (source, *above))
    for key, value in tree.items():
        both = key == "set" and isinstance(value, dict) and isinstance(under.get(key), dict)
        under[key] = {**under[key], **value} if both else value
    return under, name


def _beside(name: str, source: str, kind: str) -> str:
    """``name``, as a file beside the family's where there is one."""
    file = Path(source).parent / name
    return str(file) if source not in shipped(kind) and os.path.isfile(file) else name


def _in_file(change: Change) -> Change:
    """The change with the dotted names of recipe fields put together again: ``axes.soft.temperature``."""
    head = {"axes": 1, "space": 1, "set": 1, "rows": 2, "baselines": 2, "train_teacher": 2}.get(str(change.place[0]))
    if head is None or len(change.place) <= head or change.place[:2] == ("train_teacher", "recipe"):
        return change
    field = ".".join(map(str, change.place[head:]))
    return dataclasses.replace(change, place=(*change.place[:head], field))


def _teacher(
    family: Family, source: str, kind: str, changes: Sequence[Change], problems: list[Problem]
) -> LoadedRecipe | None:
    """The recipe of the teacher's run, where it is needed."""
    if family.train_teacher is None or _brings_teacher(changes):
        return None
    shared = [change for change in changes if change.place[0] in SHARED_WITH_TEACHER]
    own = changes_of(family.train_teacher.set, f"train_teacher of {source}")
    try:
        return load_recipe(_beside(family.train_teacher.recipe, source, kind), changes=[*shared, *own])
    except ProblemsError as error:
        problems += [problem_of(f"teacher {family.train_teacher.recipe}", problem) for problem in error.problems]
    except UsageError as error:
        problems.append(Problem("train_teacher.recipe", str(error)))
    return None


def _brings_teacher(changes: Iterable[Change]) -> bool:
    return any(change.place == ("teacher", "weights") for change in changes)
