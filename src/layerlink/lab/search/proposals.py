"""What a search tries next: what Optuna's sampler proposes, and nothing twice: the same recipe gives the same bits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from layerlink.lab.search.database import optuna
from layerlink.lab.search.schema import Dimension

Distributions = Mapping[str, optuna.distributions.BaseDistribution]
_DRAWS = 20  # that may repeat what was tried, before the first place that was not is taken


def distribution(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    """As Optuna knows it; choices by their place, since it keeps no lists."""
    if dimension.choices is not None:
        return optuna.distributions.CategoricalDistribution(list(range(len(dimension.choices))))
    low, high, step = dimension.low or 0.0, dimension.high or 0.0, dimension.step
    if step is None:
        return optuna.distributions.FloatDistribution(low, high, log=dimension.log)
    low_, high_, step_ = (Decimal(str(value)) for value in (low, high, step))
    high = float(low_ + step_ * ((high_ - low_) // step_))  # the last step that is within
    if dimension.whole:
        return optuna.distributions.IntDistribution(int(low), int(high), step=int(step))
    return optuna.distributions.FloatDistribution(low, high, step=step)


def next_trial(study: optuna.Study, distributions: Distributions, seed: int) -> optuna.trial.Trial | None:
    """A trial of values that no trial of the study has, kept in its database at once and whole.

    Args:
        study: of a search.
        distributions: of each field.
        seed: of the sampler: what is proposed follows from it and the trials so far.

    Returns:
        The trial, running; None where all that choices and steps allow was tried.
    """
    known = study.get_trials(deepcopy=False)
    tried = {_place(trial.params, distributions) for trial in known}
    beside = optuna.create_study(direction=study.direction, sampler=optuna.samplers.TPESampler(seed=seed))
    beside.add_trials(known)
    proposed = (beside.ask(dict(distributions)).params for _ in range(_DRAWS))
    for params in itertools.chain(proposed, _all(distributions)):
        if _place(params, distributions) not in tried:
            state = optuna.trial.TrialState.RUNNING
            study.add_trial(optuna.trial.create_trial(state=state, params=params, distributions=dict(distributions)))
            return optuna.trial.Trial(study, study.get_trials(deepcopy=False)[-1]._trial_id)
    return None


def _steps(found: optuna.distributions.BaseDistribution) -> tuple[float, float, float] | None:
    """The lowest and the highest value and the step between; None where any value between them may be."""
    if isinstance(found, optuna.distributions.CategoricalDistribution):
        return 0, len(found.choices) - 1, 1
    if isinstance(found, (optuna.distributions.IntDistribution, optuna.distributions.FloatDistribution)) and found.step:
        return found.low, found.high, found.step
    return None


def _place(params: Mapping[str, Any], distributions: Distributions) -> tuple[float, ...]:
    """Where values stand, counted in steps: as a key, whatever the last bits of fractions."""
    place = []
    for name, found in distributions.items():
        steps = _steps(found)
        place.append(float(params[name]) if steps is None else round((params[name] - steps[0]) / steps[2]))
    return tuple(place)


def _all(distributions: Distributions) -> Iterator[dict[str, Any]]:
    """All values that can be, one after another; none where they cannot be counted."""
    each = [_steps(found) for found in distributions.values()]
    if None in each:
        return
    counted = [steps for steps in each if steps is not None]
    counts = [round((high - low) / step) + 1 for low, high, step in counted]
    for number in range(math.prod(counts)):
        chosen, rest = {}, number
        for (name, found), (low, _, step), count in zip(distributions.items(), counted, counts, strict=True):
            rest, place = divmod(rest, count)
            fraction = isinstance(found, optuna.distributions.FloatDistribution)
            chosen[name] = low + step * place if fraction else int(low + step * place)
        yield chosen
