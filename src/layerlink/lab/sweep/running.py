"""Running a sweep: the teacher first, then cohort after cohort; what is done is not done again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlink.errors import Problem, ProblemsError, UsageError
from layerlink.files.inside import PlaceError, inside
from layerlink.lab.bench.costs import students_that_fit
from layerlink.lab.parallel.processes import here
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import several_trainings, stop_before_the_next
from layerlink.lab.run.learning.learner import DroppedError
from layerlink.lab.run.learning.memory import OutOfMemoryError
from layerlink.lab.run.resume import claim
from layerlink.lab.run.setup.cohort import set_up_each, shared_fields
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.lab.run.training import train, train_cohort
from layerlink.lab.run.watch import Watch
from layerlink.lab.sweep.family import LoadedFamily
from layerlink.lab.sweep.file import Plan, Planned
from layerlink.lab.sweep.folder import SweepFolder, run_state


@dataclass(frozen=True)
class Outcome:
    """How a run of a sweep ended.

    Args:
        planned: the run.
        result: as in ``result.json``; None where it failed.
        failure: why it was given up.
    """

    planned: Planned
    result: dict[str, Any] | None
    failure: str = ""


def run_sweep(plan: Plan, *, command: str, watch: Watch) -> list[Outcome]:
    """Run everything that is not finished. A run that broke (NaN, an error of its model) is given up with its
    reason; the others go on. So do they where a run's student or links cannot be.

    Args:
        plan: what ``load_sweep`` made of a file.
        command: kept in the manifest, to repeat it.
        watch: is told what happens.

    Returns:
        One outcome a run, in the plan's order.

    Raises:
        UsageError: where a folder holds a run of another recipe, or another process runs this sweep.
        Interrupted: where the user asked to stop. The same call goes on.
    """
    folder = SweepFolder(plan.folder)
    with ExitStack() as claims, several_trainings(plan.folder):
        here().first_says(lambda: _claim_sweep(claims, folder, plan, command))
        train_teacher(plan.family, plan.runs, watch)
        failures: dict[Path, str] = {}
        for cohort in cohorts(plan.runs):
            failures |= run_cohort(cohort, plan.sweep.cohort, watch)
    return here().first_says(lambda: [outcome_of(run, failures.get(run.folder, "")) for run in plan.runs])


def _claim_sweep(claims: ExitStack, folder: SweepFolder, plan: Plan, command: str) -> None:
    claims.enter_context(folder.alone())
    check_folders(plan)
    folder.describe(plan, command)


def check_folders(plan: Plan) -> None:
    """Raise ``ProblemsError`` where folders hold runs of other recipes: told before anything is trained."""
    claims = [(run.folder, run.loaded) for run in plan.runs]
    if plan.family.teacher is not None:
        claims.insert(0, (plan.family.teacher_folder, plan.family.teacher))
    refused: dict[str, list[Path]] = {}
    for folder, loaded in claims:
        try:
            inside(folder, plan.folder)
            claim(RunFolder(folder), loaded.recipe, resume=True)
        except (UsageError, PlaceError) as error:
            refused.setdefault(str(error).replace(str(folder), "this folder"), []).append(folder)
    if refused:
        problems = [Problem(_and_more(folders), reason) for reason, folders in refused.items()]
        raise ProblemsError(str(plan.folder), problems)


def _and_more(folders: Sequence[Path]) -> str:
    return f"{folders[0]} and {len(folders) - 1} more" if len(folders) > 1 else str(folders[0])


def unfinished(runs: Sequence[Planned]) -> list[Planned]:
    """The runs that are neither finished nor given up."""
    states = here().first_says(lambda: [run_state(RunFolder(run.folder)) for run in runs])
    return [run for run, state in zip(runs, states, strict=True) if state not in ("finished", "failed")]


def cohorts(runs: Sequence[Planned]) -> Iterator[list[Planned]]:
    """The unfinished runs, those together that can share a teacher pass."""
    groups: dict[str, list[Planned]] = {}
    for run in unfinished(runs):
        fields = shared_fields(run.loaded.recipe)
        key = json.dumps({name: _plain(value) for name, value in fields.items()}, sort_keys=True)
        groups.setdefault(key, []).append(run)
    yield from groups.values()


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def train_teacher(family: LoadedFamily, runs: Sequence[Planned], watch: Watch) -> None:
    """Train the teacher of the runs, where it is theirs to train and some still need it."""
    run = RunFolder(family.teacher_folder)
    needed = any(planned.loaded.recipe.teacher for planned in unfinished(runs))
    if family.teacher is not None and needed and not here().first_says(run.result.exists):
        train(set_up(family.teacher), run, watch=watch, resume=True)


def run_cohort(runs: Sequence[Planned], most: int | None, watch: Watch) -> dict[Path, str]:
    """Train the runs side by side, as many at a time as ``most`` says or memory holds.

    Returns:
        By folder, why runs were not begun: their student or links cannot be. The same call tries them again.

    Raises:
        ProblemsError: what is wrong with all of them, such as the teacher.
    """
    failures: dict[Path, str] = {}
    first: Setup | None = None
    while first is None and runs:
        (made,) = set_up_each([runs[0].loaded])
        if isinstance(made, ProblemsError):
            _not_begun(runs[0], made, failures, watch)
            runs = runs[1:]
        else:
            first = made
    if most is None and first is not None:
        most = here().least(students_that_fit(first)) if len(runs) > 1 else 1
        if most < len(runs):
            watch.tell(f"{len(runs)} students share a teacher; memory holds {most} at a time")
    for part in parts_of(runs, most or 1) if runs else ():
        _train_together(part, watch, failures, first)
        first = None
    return failures


def _not_begun(run: Planned, error: ProblemsError, failures: dict[Path, str], watch: Watch) -> None:
    failures[run.folder] = "; ".join(f"{problem.where}: {problem.what}" for problem in error.problems)
    watch.warn(f"{run.folder} is not begun, the others go on: {failures[run.folder]}")


def parts_of(runs: Sequence[Planned], most: int) -> Iterator[Sequence[Planned]]:
    """The runs in as few parts as can be, as equal as can be."""
    count = -(-len(runs) // most)
    for place in range(count):
        yield runs[place * len(runs) // count : (place + 1) * len(runs) // count]


def _train_together(
    runs: Sequence[Planned], watch: Watch, failures: dict[Path, str], first: Setup | None = None
) -> None:
    refused = _train_at_once(runs, watch, failures, first)
    if not refused:
        return
    half = len(runs) // 2
    watch.warn(f"{len(runs)} students do not fit into memory ({refused}); going on with {half} at a time")
    for part in (runs[:half], runs[half:]):
        if left := [run for run in unfinished(part) if run.folder not in failures]:
            _train_together(left, watch, failures)


def _train_at_once(runs: Sequence[Planned], watch: Watch, failures: dict[Path, str], first: Setup | None) -> str:
    """Train all the runs side by side; why not, where a part of them may fit into memory.

    The reason is returned, not raised: an exception would hold on to all that fills the memory.
    """
    here().first_says(stop_before_the_next)
    ready: list[tuple[Setup, RunFolder]] = []
    try:
        for run, made in zip(runs, set_up_each([run.loaded for run in runs], first), strict=True):
            if isinstance(made, ProblemsError):
                _not_begun(run, made, failures, watch)
            else:
                ready.append((made, RunFolder(run.folder)))
        outcomes = train_cohort(ready, watch=watch, resume=True) if ready else []
    except OutOfMemoryError as error:
        if len(runs) == 1 or here().size > 1:  # the others did not see it, and are in the middle of the step
            raise
        return str(error)
    for (_, folder), outcome in zip(ready, outcomes, strict=True):
        if isinstance(outcome, DroppedError):
            folder.write_text(folder.failure, f"{outcome}\n")
    return ""


def outcome_of(run: Planned, failure: str = "") -> Outcome:
    """How a run ended.

    Args:
        run: which.
        failure: why it was not begun; empty where it was.
    """
    folder = RunFolder(run.folder)
    if failure and not folder.result.exists():
        return Outcome(run, None, failure)
    if folder.failure.exists() and not folder.result.exists():
        return Outcome(run, None, folder.read_failure())
    return Outcome(run, folder.read_result())
