from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from layerlink.lab.search.database import open_storage, optuna
from layerlink.lab.search.proposals import distribution, next_trial
from layerlink.lab.search.schema import Dimension

SPACES: dict[str, dict[str, dict[str, Any]]] = {
    "choices": {"a": {"choices": ("x", "y", "z")}, "b": {"choices": (True, False)}},
    "steps": {"a": {"low": 0.1, "high": 0.75, "step": 0.1}},
    "whole steps": {"a": {"low": 2, "high": 9, "step": 3}, "b": {"choices": (1, 2)}},
}
VALUES = {
    "choices": set(itertools.product(range(3), range(2))),
    "steps": {(0.1,), (0.2,), (0.3,), (0.4,), (0.5,), (0.6,), (0.7,)},
    "whole steps": set(itertools.product((2, 5, 8), range(2))),
}


def distributions(space: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: distribution(Dimension(**dimension)) for name, dimension in space.items()}


@pytest.fixture
def study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize")


@pytest.mark.parametrize("name", SPACES)
def test_a_space_that_can_be_counted_is_tried_once_through(name: str, study: optuna.Study) -> None:
    space = distributions(SPACES[name])
    found = []
    for number in range(len(VALUES[name])):
        trial = next_trial(study, space, number)
        assert trial is not None
        assert trial.number == number
        found.append(tuple(round(value, 9) for value in trial.params.values()))
        study.tell(trial.number, float(number))
    assert len(found) == len(set(found))
    assert set(found) == VALUES[name]
    assert next_trial(study, space, 99) is None


def test_values_of_steps_are_the_same_whatever_their_last_bits_are(study: optuna.Study) -> None:
    space = distributions({"a": {"low": 0.1, "high": 0.4, "step": 0.1}})
    for value in (0.1, 0.2, 0.30000000000000004):  # 0.1 + 0.2
        study.add_trial(optuna.trial.create_trial(value=1.0, params={"a": value}, distributions=space))
    trial = next_trial(study, space, 0)
    assert trial is not None
    assert trial.params["a"] == pytest.approx(0.4)


def test_of_a_space_of_many_the_untried_is_found_without_counting_all(study: optuna.Study) -> None:
    space = distributions({"a": {"low": 0, "high": 1e15, "step": 1}, "b": {"choices": tuple(range(1000))}})
    trials = [next_trial(study, space, 0) for _ in range(25)]  # the same seed, more often than it is drawn again
    assert len({tuple(trial.params.values()) for trial in trials if trial is not None}) == 25


def test_where_nothing_repeats_it_is_what_optuna_proposes(study: optuna.Study) -> None:
    space = distributions({"a": {"low": 1e-4, "high": 1.0, "log": True}, "b": {"low": 0, "high": 1}})
    other = optuna.create_study(direction="maximize")
    for number in range(14):  # its sampler draws ten at random first
        trial = next_trial(study, space, number)
        other.sampler = optuna.samplers.TPESampler(seed=number)
        asked = other.ask(space)
        assert trial is not None
        assert trial.params == asked.params
        assert 1e-4 <= trial.params["a"] <= 1.0
        for each in (study, other):
            each.tell(number, trial.params["a"] - trial.params["b"])


def test_a_trial_is_kept_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = distributions(SPACES["choices"])

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with open_storage(tmp_path / "search.db") as storage:
        study = optuna.create_study(storage=storage)
        monkeypatch.setattr(type(storage), "set_trial_param", killed)  # a value at a time is how a kill halves a trial
        assert next_trial(study, space, 0) is not None
    with open_storage(tmp_path / "search.db") as storage:
        (trial,) = optuna.load_study(study_name=None, storage=storage).trials
        assert set(trial.params) == {"a", "b"}
