"""Running a search: Optuna proposes, cohorts of trials train, the task's validation score decides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from layerlink.errors import UsageError
from layerlink.files.inside import inside
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.holding import alone_in
from layerlink.lab.run.interruption import several_trainings
from layerlink.lab.run.learning.learner import DroppedError
from layerlink.lab.run.resume import claim
from layerlink.lab.run.watch import PassingOn, Watch
from layerlink.lab.search.database import no_database, open_storage, optuna
from layerlink.lab.search.proposals import distribution, next_trial
from layerlink.lab.search.schema import Search
from layerlink.lab.sweep.family import LoadedFamily
from layerlink.lab.sweep.file import Planned
from layerlink.lab.sweep.folder import check_no_run
from layerlink.lab.sweep.running import cohorts, outcome_of, run_cohort, train_teacher
from layerlink.lab.sweep.schema import Row
from layerlink.tasks import ACCURACY, Score

STARTUP_TRIALS = 5  # that no trial is pruned before


class PrunedError(DroppedError):
    """A trial is below the median of the others."""


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Args:
        number: from 0.
        fields: its values by dotted name.
        state: "complete", "pruned", "failed" or "running".
        validation: the task's score; of the last epoch reported where it is not complete.
        folder: its run's folder.
        score: of the task.
    """

    number: int
    fields: Mapping[str, Any]
    state: str
    validation: float | None
    folder: Path
    score: Score = ACCURACY


def run_search(search: Search, family: LoadedFamily, *, watch: Watch) -> list[Trial]:
    """Run trials until there are as many as asked for. What earlier starts did is not repeated.

    Args:
        search: what ``load_search`` made of a file.
        family: the same.
        watch: is told what happens.

    Returns:
        All trials, the best first. Only their validation score may choose among them.

    Raises:
        UsageError: where the folder holds a search over another space, or another process runs it.
        Interrupted: where the user asked to stop. The same call goes on.
    """
    inside(family.teacher_folder, family.folder)
    check_no_run(family.folder)
    with alone_in(family.folder), _open_study(search, family) as study, several_trainings(family.folder):
        _check_recipe(study, search, family)
        while trials := _next_trials(study, search, watch):
            _run_trials(study, trials, search, family, watch)
        return sorted(_trials(study, search, family), key=_rank)


def _rank(trial: Trial) -> tuple[bool, float]:
    sign = -1.0 if trial.score.higher_is_better else 1.0
    return trial.state != "complete", sign * (trial.validation or 0.0)


@contextmanager
def _open_study(search: Search, family: LoadedFamily) -> Iterator[optuna.Study]:
    with open_storage(family.folder / "search.db") as storage:
        yield _study(storage, search, family)


def _study(storage: optuna.storages.RDBStorage, search: Search, family: LoadedFamily) -> optuna.Study:
    pruner = optuna.pruners.MedianPruner(STARTUP_TRIALS) if search.prune else optuna.pruners.NopPruner()
    direction: Literal["maximize", "minimize"] = "maximize" if _score(family).higher_is_better else "minimize"
    study = optuna.create_study(
        storage=storage, study_name="layerlink", direction=direction, load_if_exists=True, pruner=pruner
    )
    space = {name: dimension.model_dump(mode="json") for name, dimension in search.space.items()}
    asked = json.dumps({"base": family.base, "space": space}, sort_keys=True)
    known = study.user_attrs.get("asked")
    if known is None and study.get_trials(deepcopy=False):
        raise no_database(family.folder / "search.db", "it holds trials, and not what they were asked for")
    if known is None:
        study.set_user_attr("asked", asked)
    elif known != asked:
        raise UsageError(
            f"{family.folder} holds a search over another space or base:\n  {known}\n  now: {asked}\n"
            "Ask for the same to go on with it, or choose another folder: --out FOLDER"
        )
    distributions = _distributions(search)
    for trial in study.get_trials(deepcopy=False):
        if trial.distributions != distributions:
            raise no_database(family.folder / "search.db", f"trial {trial.number} is of another space")
    return study


# What a trial finds does not hang on these.
_ASIDE = ("data.root", "data.download", "data.workers", "device", "track")


def _check_recipe(study: optuna.Study, search: Search, family: LoadedFamily) -> None:
    """Raise ``UsageError`` where trials were trained by another recipe: beside the new ones they say nothing.

    What no trial varies is the same in all of them: the first and the last are looked at.
    """
    trained = [it for it in study.get_trials(deepcopy=False) if RunFolder(_folder(it.number, family)).recipe.exists()]
    for trial in {it.number: it for it in (*trained[:1], *trained[-1:])}.values():
        loaded = family.recipe(_fields(trial.params, search), f"trial {trial.number}")
        claim(RunFolder(_folder(trial.number, family)), loaded.recipe, resume=True, but=_ASIDE)


def _next_trials(study: optuna.Study, search: Search, watch: Watch) -> list[optuna.trial.Trial]:
    """Trials that an earlier start left unfinished, else new ones; none when there are enough."""
    states = optuna.trial.TrialState
    left = study.get_trials(deepcopy=False, states=(states.RUNNING,))
    if left:
        return [optuna.trial.Trial(study, trial._trial_id) for trial in left]
    done = len(study.get_trials(deepcopy=False))
    trials = []
    for number in range(done, min(done + (search.cohort or 1), search.trials)):
        # A sampler of its own for every trial: what is proposed does not depend on how often the search was stopped.
        trial = next_trial(study, _distributions(search), (search.seed << 16) + number)
        if trial is None:
            break
        trials.append(trial)
    if not trials and done < search.trials:
        watch.tell(f"trials: {done} of {search.trials}; the space has no more")
    return trials


def _distributions(search: Search) -> dict[str, optuna.distributions.BaseDistribution]:
    return {name: distribution(dimension) for name, dimension in search.space.items()}


def _fields(params: Mapping[str, Any], search: Search) -> dict[str, Any]:
    """Optuna's parameters as values of fields."""
    values = {}
    for name, value in params.items():
        choices = search.space[name].choices
        values[name] = value if choices is None else choices[value]
    return values


def _folder(number: int, family: LoadedFamily) -> Path:
    return family.folder / f"trial-{number:04d}"


def _run_trials(
    study: optuna.Study, trials: list[optuna.trial.Trial], search: Search, family: LoadedFamily, watch: Watch
) -> None:
    """Train trials side by side, and tell Optuna how they ended."""
    runs = {}
    for trial in trials:
        fields = _fields(trial.params, search)
        loaded = family.recipe(fields, f"trial {trial.number}")
        folder = _folder(trial.number, family)
        inside(folder, family.folder)
        runs[folder] = trial, Planned(Row(folder.name, fields), loaded, folder)
    planned = [run for _, run in runs.values()]
    train_teacher(family, planned, watch)
    listening = _Pruning(watch, runs)
    failures: dict[Path, str] = {}
    for cohort in cohorts(planned):
        failures |= run_cohort(cohort, search.cohort, listening)
    for trial, run in runs.values():
        outcome = outcome_of(run, failures.get(run.folder, ""))
        states = optuna.trial.TrialState
        if outcome.result is not None:
            study.tell(trial.number, outcome.result[f"validation_{_score(family).name}"])
        elif outcome.failure.startswith("pruned"):
            study.tell(trial.number, state=states.PRUNED)
        else:
            study.tell(trial.number, state=states.FAIL)


class _Pruning(PassingOn):
    """Passes everything on, reports validation scores, and drops trials that are not worth going on with."""

    def __init__(self, watch: Watch, trials: Mapping[Path, tuple[optuna.trial.Trial, Planned]]) -> None:
        super().__init__(watch)
        self._trials = trials

    def epoch(self, run: RunFolder, row: dict[str, Any]) -> None:
        super().epoch(run, row)
        if run.path not in self._trials:  # the teacher's
            return
        trial, planned = self._trials[run.path]
        score = planned.loaded.recipe.task.build().score
        value = row[f"validation_{score.name}"]
        known = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        if row["epoch"] not in known:  # after a kill an epoch may be trained again
            trial.report(value, row["epoch"])
        if row["epoch"] < planned.loaded.recipe.training.epochs and trial.should_prune():
            raise PrunedError(
                f"pruned: {score.show(value)} validation after epoch {row['epoch']} is "
                f"{'below' if score.higher_is_better else 'above'} the median of the other trials"
            )


def _trials(study: optuna.Study, search: Search, family: LoadedFamily) -> list[Trial]:
    names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    found, score = [], _score(family)
    for trial in study.get_trials(deepcopy=False):
        reached = trial.value if trial.state.name == "COMPLETE" else trial.intermediate_values.get(trial.last_step or 0)
        state = names.get(trial.state.name, "running")
        folder, fields = _folder(trial.number, family), _fields(trial.params, search)
        found.append(Trial(trial.number, fields, state, reached, folder, score))
    return found


def _score(family: LoadedFamily) -> Score:
    """By which trials are compared: the task is the base recipe's."""
    return family.recipe({}, "the base").recipe.task.build().score
