"""Sweeps: one question asked of many runs, as a typed schema."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue, ValidationInfo, field_validator, model_validator

from layerlink.lab.recipe.section import Section, Whole
from layerlink.lab.sweep.family import Changes, Family

MOST_RUNS = 10_000  # more than anybody trains, and few enough to be checked one by one
MOST_VALUES = 1_000  # of an axis


def _seed_list(value: Any) -> Any:
    if (isinstance(value, int) and value > MOST_RUNS) or (isinstance(value, list) and len(value) > MOST_RUNS):
        raise ValueError(f"at most {MOST_RUNS:,} seeds")
    return list(range(value)) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else value


Seed = Annotated[Whole, Field(ge=0, lt=2**31)]


class Published(Section):
    """What others found, to be set beside."""

    source: str = Field(description="who, where, and how it was measured")
    test_accuracy: dict[str, float] = Field(description="in percent, by row")


class Sweep(Family):
    """Rows and seeds: every row is a recipe that differs from the base in a few fields."""

    axes: dict[str, list[JsonValue]] = Field(
        default_factory=dict, description="values of fields: all combinations, at most 10,000 runs in all"
    )
    rows: dict[str, Changes] = Field(default_factory=dict, description="named changes; combined with the axes")
    baselines: dict[str, Changes] = Field(
        default_factory=dict, description="named changes that the axes leave alone, to compare with"
    )
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_seed_list)] = Field(
        (0,), description="a list, or how many; rows times seeds are at most 10,000 runs"
    )
    published: Published | None = Field(None, description="what others found, to be set beside")

    @field_validator("axes")
    @classmethod
    def _axes_hold_values(cls, value: dict[str, list[JsonValue]]) -> dict[str, list[JsonValue]]:
        for name, values in value.items():
            if not values:
                raise ValueError(f"{name} has no values")
            if len(values) > MOST_VALUES:
                raise ValueError(f"{name} has {len(values):,} values; at most {MOST_VALUES:,}")
            if any(item in values[:place] for place, item in enumerate(values)):
                raise ValueError(f"{name} has a value twice")
        return value

    @field_validator("axes", "set", "rows", "baselines")
    @classmethod
    def _seeds_are_for_all(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        named = {"": value} if info.field_name in ("axes", "set") else value
        for name, changes in named.items():
            if "seed" in changes:
                row = f"{name!r}: " if name else ""
                raise ValueError(f"{row}every row has every seed, so seed cannot be set here; write seeds: [...]")
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("must be different numbers, at least one")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Sweep:
        count = len(self.baselines)
        if self.rows or self.axes:
            count += max(len(self.rows), 1) * math.prod(len(values) for values in self.axes.values())
        if count * len(self.seeds) > MOST_RUNS:
            raise ValueError(f"{count:,} rows with {len(self.seeds):,} seeds are too many runs; at most {MOST_RUNS:,}")
        rows = list(plan_rows(self))
        if not rows:
            raise ValueError("nothing to run: give axes, rows or baselines")
        names = [row.name for row in rows]
        named, placed = Counter(names), Counter(row.folder for row in rows)
        for row in rows:
            if named[row.name] > 1 or placed[row.folder] > 1:
                raise ValueError(f"two rows are called {row.name!r}, or nearly so; rename one")
        missing = [name for name in (self.published.test_accuracy if self.published else ()) if name not in names]
        if missing:
            raise ValueError(f"published names {missing[0]!r}, which is no row. Rows: {', '.join(names)}")
        return self


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seed alone.

    Args:
        name: as shown.
        changes: values by dotted field.
        baseline: to compare the others with.
    """

    name: str
    changes: Mapping[str, Any]
    baseline: bool = False

    @property
    def folder(self) -> str:
        """The name as part of a path."""
        return re.sub(r"[^\w.=+-]+", "-", self.name).strip("-.") or "row"


def plan_rows(sweep: Sweep) -> Iterator[Row]:
    """Every row: baselines, then the named rows with every combination of the axes' values."""
    for name, changes in sweep.baselines.items():
        yield Row(name, changes, baseline=True)
    if not sweep.rows and not sweep.axes:
        return
    short = _short_names(list(sweep.axes))
    for row, changes in (sweep.rows or {"": {}}).items():
        for values in itertools.product(*sweep.axes.values()):
            point = dict(zip(sweep.axes, values, strict=True))
            parts = [f"{short[field]}={_shown(value, sweep.axes[field])}" for field, value in point.items()]
            yield Row(", ".join([row, *parts] if row else parts), {**changes, **point})


def _short_names(fields: list[str]) -> dict[str, str]:
    """The last part of every dotted name, where that is unambiguous."""
    last = [name.rpartition(".")[2] for name in fields]
    return {name: part if last.count(part) == 1 else name for name, part in zip(fields, last, strict=True)}


def _shown(value: JsonValue, values: list[JsonValue]) -> str:
    """A value in a row's name; lists and sections go by their place."""
    if isinstance(value, list | dict):
        return f"#{values.index(value) + 1}"
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if value is None else str(value)
