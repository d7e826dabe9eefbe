from __future__ import annotations

import numpy as np
import pytest

from layerlink.lab.report.chance.p_values import largest_of
from layerlink.lab.report.chance.verdict import flattery, judge


def rows(**values: list[float]) -> dict[str, dict[int, float]]:
    return {name: dict(enumerate(found)) for name, found in values.items()}


def test_the_best_is_marked_only_where_it_is_told_from_every_other_row() -> None:
    assert judge(rows(a=[80.0, 80.4, 80.2], b=[70.0, 70.5, 70.1], c=[60.0, 60.3, 60.2])).best == "a"
    close = judge(rows(a=[80.0, 80.4, 80.3], b=[79.9, 80.5, 80.0], c=[60.0, 60.3, 60.4]))
    assert (close.leader, close.best) == ("a", None)
    assert close.why_not == ("No row is marked as best: “a” leads “b” by 0.10 points, which may be chance (p = 0.96).")
    assert list(close.ahead) == ["b", "c"]
    assert close.ahead["c"].mean == pytest.approx(20.0)
    assert close.ahead["c"].low < 20 < close.ahead["c"].high  # type: ignore[operator]
    wild = judge(rows(a=[80.0, 80.4], b=[70.0, 70.1], c=[79.0, 10.0]))
    assert "“a” leads “c” by 35.70 points, which may be chance" in wild.why_not


def test_seeds_that_lie_apart_do_not_hide_a_steady_lead() -> None:
    base = [60.0, 64.0, 62.0]
    assert judge(rows(a=[value + 2 + 0.01 * k for k, value in enumerate(base)], b=base)).best == "a"


def test_the_choice_among_many_is_corrected() -> None:
    # A lead that one comparison would tell (p = 0.02) is not enough for the first of twenty rows.
    base = [70.0, 71.0, 69.5, 70.5]
    leader = [value + lead for value, lead in zip(base, (1.0, 1.6, 0.6, 1.9), strict=True)]
    assert judge(rows(a=leader, b=base)).best == "a"
    others = {f"r{k}": [value - 0.01 * k for value in base] for k in range(20)}
    assert judge(rows(a=leader, **others)).best is None


def test_a_false_best_is_rarer_than_five_in_a_hundred() -> None:
    draw = np.random.default_rng(2)
    found = 0
    for _ in range(300):
        own = draw.normal(0, 2, 3)
        equal = {f"r{k}": dict(enumerate(70 + own + draw.normal(0, 0.3, 3))) for k in range(5)}
        found += judge(equal).best is not None
    assert found / 300 < 0.05


def test_a_leader_by_other_seeds_is_no_leader() -> None:
    mixed = {"a": {0: 70.0, 1: 71.0, 2: 90.0}, "b": {0: 75.0, 1: 76.0}}
    assert judge(mixed).why_not == ("No row is marked as best: “a” does not lead “b” over the seeds that both have.")


def test_single_seeds_are_never_marked_and_say_so() -> None:
    assert "a single seed each" in judge(rows(a=[80.0], b=[10.0])).why_not
    assert judge(rows(a=[80.0], b=[10.0, 11.0])).why_not == (
        "No row is marked as best: the highest, “a”, has a single seed."
    )
    assert "“b” has a single seed in common" in judge(rows(a=[80.0, 80.1], b=[10.0])).why_not
    assert judge(rows(a=[80.0, 80.1])).best is None


def test_the_first_of_equal_rows_reads_too_high_by_so_much() -> None:
    draw = np.random.default_rng(4)
    surplus, said = [], []
    for _ in range(500):
        own = draw.normal(0, 3, 3)
        equal = {f"r{k}": dict(enumerate(70 + own + draw.normal(0, 0.5, 3))) for k in range(8)}
        surplus.append(max(np.mean(list(row.values())) for row in equal.values()) - 70 - own.mean())
        points = flattery(equal)
        assert points is not None
        said.append(points)
    assert np.mean(said) == pytest.approx(np.mean(surplus), rel=0.07)
    assert flattery(rows(a=[1.0], b=[2.0])) is None
    assert flattery({"a": {0: 1.0, 1: 2.0}, "b": {2: 1.0, 3: 2.0}}) is None


def test_flattery_is_of_the_rows_that_share_seeds_whoever_has_most() -> None:
    two = {"a": {0: 1.0, 1: 2.0, 2: 4.0}, "b": {0: 1.5, 1: 2.25, 2: 4.0}}
    alone = {"c": dict.fromkeys(range(10, 20), 3.0)}
    known = flattery(two)
    assert known is not None
    # The third adds to the number of rows alone: the largest of three normal numbers for the largest of two.
    assert flattery({**alone, **two}) == pytest.approx(known * largest_of(3) / largest_of(2))
