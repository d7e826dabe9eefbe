from __future__ import annotations

import math
import statistics

import pytest

from layerlink.lab.report.spread import Spread, beyond_spread, difference, judge, spread_of, student_t


@pytest.mark.parametrize("values", [[64.78, 65.51], [1.0, 2.0, 4.0], [10.0, 10.0, 10.0], [1e8, 1e8 + 1, 1e8 + 2]])
def test_mean_and_sample_sd_are_those_of_the_statistics_module(values: list[float]) -> None:
    found = spread_of(values)
    assert found.n == len(values)
    assert found.mean == pytest.approx(statistics.mean(values), rel=1e-12)
    assert found.sd == pytest.approx(statistics.stdev(values), rel=1e-9)


def test_one_value_has_no_spread() -> None:
    assert spread_of([3.5]) == Spread(3.5, None, 1)


@pytest.mark.parametrize("freedom", [1, 1.3, 1.9, 2, 2.5, 4, 7.7, 15, 29.5, 30])
def test_student_t_is_the_tables_and_never_too_lenient_between(freedom: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    true = float(stats.t.ppf(0.975, freedom))
    assert student_t(freedom) >= true - 5e-4
    assert student_t(freedom) <= true * (1.25 if freedom < 2 else 1.03)
    if freedom == int(freedom):
        assert student_t(freedom) == pytest.approx(true, abs=6e-4)
    assert student_t(1000) >= 1.96


CASES = [
    ([70.0, 70.4, 69.8], [71.0, 71.5, 70.9]),
    ([70.0, 70.4], [71.0, 71.5]),
    ([70.0, 70.4], [80.0, 80.5]),
    ([70.0, 75.0, 65.0, 71.0], [71.0, 71.1]),
    ([60.0, 61.0, 59.5, 60.2], [62.0, 63.0, 61.5, 62.4]),
]


@pytest.mark.parametrize(("first", "second"), CASES)
def test_the_rule_is_welchs_test_at_five_percent(first: list[float], second: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    p = stats.ttest_ind(first, second, equal_var=False).pvalue
    assert not 0.03 < p < 0.06, "a case at the edge proves nothing"
    assert beyond_spread(spread_of(first), spread_of(second)) is bool(p < 0.05)
    assert beyond_spread(spread_of(second), spread_of(first)) is bool(p < 0.05)


def test_without_a_spread_nothing_is_beyond_it() -> None:
    assert beyond_spread(Spread(90, None, 1), Spread(10, 0.1, 3)) is None
    assert beyond_spread(Spread(90, 0, 2), Spread(90, 0, 2)) is False
    assert beyond_spread(Spread(90, 0, 2), Spread(89, 0, 2)) is True


def test_differences_are_paired_by_seed() -> None:
    found = difference({0: 71.0, 1: 75.0, 2: 90.0}, {0: 70.0, 1: 73.5, 5: 10.0})
    assert found is not None
    assert (found.mean, found.n, found.paired) == (1.25, 2, True)
    assert found.sd == pytest.approx(statistics.stdev([1.0, 1.5]))


def test_unshared_seeds_are_compared_by_their_means() -> None:
    found = difference({0: 71.0, 1: 73.0}, {2: 70.0, 3: 71.0, 4: 72.0})
    assert found is not None
    assert (found.mean, found.n, found.paired) == (1.0, 2, False)
    assert found.sd == pytest.approx(math.sqrt(2.0 + 1.0))
    single = difference({0: 71.0}, {2: 70.0, 3: 71.0})
    assert single is not None
    assert (single.sd, single.beyond) == (None, None)
    assert difference({}, {0: 1.0}) is None


def rows(**values: list[float]) -> dict[str, Spread]:
    return {name: spread_of(found) for name, found in values.items()}


def test_the_best_is_marked_only_where_it_beats_every_other_row() -> None:
    assert judge(rows(a=[80.0, 80.4, 80.2], b=[70.0, 70.5, 70.1], c=[60.0, 60.3])).best == "a"
    close = judge(rows(a=[80.0, 80.4], b=[79.9, 80.3], c=[60.0, 60.3]))
    assert (close.leader, close.best) == ("a", None)
    assert close.why_not == (
        "No row is marked as best: “a” leads “b” by 0.10 points, which is not more than the spread."
    )
    wild = judge(rows(a=[80.0, 80.4], b=[70.0, 70.1], c=[79.0, 10.0]))
    assert wild.best is None
    assert "“a” leads “c” by 35.70 points" in wild.why_not


def test_single_seeds_are_never_marked_and_say_so() -> None:
    assert "a single seed each" in judge(rows(a=[80.0], b=[10.0])).why_not
    assert judge(rows(a=[80.0], b=[10.0, 11.0])).why_not == (
        "No row is marked as best: the highest, “a”, has a single seed."
    )
    assert "“b” has a single seed" in judge(rows(a=[80.0, 80.1], b=[10.0])).why_not
    assert judge(rows(a=[80.0, 80.1])).best is None
