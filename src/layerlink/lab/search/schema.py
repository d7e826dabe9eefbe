"""Searches: where to look for the best recipe, as a typed schema."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue, field_validator, model_validator

from layerlink.errors import Problem, ProblemsError
from layerlink.lab.recipe.section import Section, Whole, YesNo
from layerlink.lab.sweep.family import Family, LoadedFamily, problem_of, read_family

MOST_CHOICES = 1_000
WITHIN = 0.37  # a place inside a range, to see whether the field takes fractions


class Dimension(Section):
    """The values of one field: a range, or choices. A list is short for choices."""

    low: float | None = Field(None, description="lowest value")
    high: float | None = Field(None, description="highest value")
    log: YesNo = Field(False, description="spread evenly over the logarithm")
    step: float | None = Field(None, gt=0, description="values are low, low + step, ...; whole where all three are")
    choices: tuple[JsonValue, ...] | None = Field(None, description="in place of low and high")

    @model_validator(mode="after")
    def _is_range_or_choices(self) -> Dimension:
        if self.choices is not None:
            if self.low is not None or self.high is not None:
                raise ValueError("give low and high, or choices")
            if not self.choices:
                raise ValueError("choices is empty")
            if len(self.choices) > MOST_CHOICES:
                raise ValueError(f"choices has {len(self.choices):,} values; at most {MOST_CHOICES:,}")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or a list of choices")
        if not math.isfinite(self.high - self.low):
            raise ValueError("low and high are too far apart")
        if not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low > 0 and no step")
        return self

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers."""
        return self.step is not None and all(float(v or 0).is_integer() for v in (self.low, self.high, self.step))

    def examples(self) -> list[Any]:
        """Values that show whether the field takes what is asked for."""
        if self.choices is not None:
            return list(self.choices)
        low, high = self.low or 0.0, self.high or 0.0
        inside = low + WITHIN * (high - low)
        if self.step is not None:
            inside = low + self.step * round((inside - low) / self.step)
        return [int(value) if self.whole else value for value in (low, inside, high)]


def _choices(value: Any) -> Any:
    return {"choices": value} if isinstance(value, list) else value


class Search(Family):
    """Fields, their values, and how many trials there are to find the best."""

    space: dict[str, Annotated[Dimension, BeforeValidator(_choices)]] = Field(description="by dotted name of the field")
    trials: Whole = Field(
        30,
        ge=1,
        le=1_000_000,
        description="how many in all, those of earlier starts included; none twice, so a space of few ends sooner",
    )
    seed: Whole = Field(0, ge=0, lt=2**31, description="of the search; that of the runs is set.seed")
    prune: YesNo = Field(True, description="give up trials that are below the median of the others at the same epoch")
    cohort: Annotated[Whole, Field(ge=1)] | None = Field(4, description="trials on one teacher pass")

    @field_validator("space")
    @classmethod
    def _space_has_fields(cls, value: dict[str, Dimension]) -> dict[str, Dimension]:
        if not value:
            raise ValueError("has no fields to vary")
        return value


def load_search(source: str, overrides: Sequence[str] = (), *, out: Path | None = None) -> tuple[Search, LoadedFamily]:
    """Read and check a search: the ends of every range and every choice must make a recipe.

    Args:
        source: path of a YAML file, or the name of a shipped search.
        overrides: ``key=value`` texts; see ``read_family``.
        out: its folder; ``runs/NAME`` by default.

    Raises:
        UsageError: where there is no such file.
        ProblemsError: everything that is wrong, with lines.
    """
    problems: list[Problem] = []
    search, family = read_family(Search, source, overrides, out, problems)
    first = {field: dimension.examples()[0] for field, dimension in search.space.items()}
    for field, dimension in search.space.items():
        for value in dimension.examples():
            try:
                family.recipe({**first, field: value}, f"space of {source}")
            except ProblemsError as error:
                told = [problem_of(family.base, problem) for problem in error.problems]
                problems += [problem for problem in told if problem not in problems]
    if problems:
        raise ProblemsError(source, problems)
    return search, family
