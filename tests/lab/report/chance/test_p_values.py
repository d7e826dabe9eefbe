"""Worked examples from textbooks, and SciPy's own tests as a second route."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from layerlink.lab.report.chance.p_values import holm, largest_of, paired_t, seeds_to_tell, sign_flip, welch
from layerlink.lab.report.chance.spread import Spread, spread_of

# Hours of sleep that two drugs brought ten patients; Student 1908, after Cushny and Peebles.
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
SLEEP = [b - a for a, b in zip(FIRST, SECOND, strict=True)]
# Heights of 15 pairs of Darwin's maize, crossed minus self-fertilised, in eighths of an inch; Fisher 1935, section 21.
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_paired_t_is_students_own_example() -> None:
    p, low, high = paired_t(SLEEP)
    assert p == pytest.approx(0.00283, abs=5e-6)  # t = 4.062, 9 degrees of freedom
    assert (low, high) == pytest.approx((0.7001, 2.4599), abs=5e-5)


def test_paired_t_is_fishers_example_of_the_maize() -> None:
    p, low, high = paired_t(MAIZE)
    assert p == pytest.approx(0.0497, abs=5e-5)  # t = 2.148, 14 degrees of freedom
    assert low < high
    assert low == pytest.approx(0.03, abs=0.02)


def test_flipping_signs_is_fishers_count() -> None:
    assert sign_flip(MAIZE) == 1726 / 2**15  # 863 sums are at least 314, as many at most -314


@pytest.mark.parametrize("seed", range(5))
def test_flipping_signs_is_the_count_over_all_signs(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.5, 1, 7)
    sums = [abs(float(np.dot(signs, values))) for signs in itertools.product([-1, 1], repeat=7)]
    expected = sum(value >= abs(values.sum()) - 1e-12 for value in sums) / 2**7
    assert sign_flip(list(values)) == expected


def test_six_pairs_of_one_sign_are_the_first_that_the_exact_test_can_tell() -> None:
    assert sign_flip([1.0, 2.0, 0.5, 3.0, 1.5]) == 2 / 2**5 > 0.05
    assert sign_flip([1.0, 2.0, 0.5, 3.0, 1.5, 0.1]) == 2 / 2**6 < 0.05
    assert sign_flip([0.1] * 8) == 2 / 2**8  # equal values: their sums differ by rounding alone
    assert sign_flip([0.1, 0.2, -0.3]) == 1.0


def test_welch_is_the_sleep_example_unpaired() -> None:
    p, low, high = welch(spread_of(FIRST), spread_of(SECOND))
    assert p == pytest.approx(0.07939, abs=5e-6)  # t = -1.8608, 17.776 degrees of freedom
    assert (low, high) == pytest.approx((-3.36548, 0.20548), abs=5e-6)


@pytest.mark.parametrize("seed", range(10))
def test_both_are_scipys(seed: int) -> None:
    draw = np.random.default_rng(seed)
    first, second = draw.normal(70, 1, 2 + seed), draw.normal(70.5, 3, 2 + seed)
    paired = scipy.stats.ttest_rel(first, second)
    interval = paired.confidence_interval(0.95)
    assert paired_t(list(first - second)) == pytest.approx((paired.pvalue, interval.low, interval.high), rel=1e-9)
    free = scipy.stats.ttest_ind(first, second[:-1] if seed else second, equal_var=False)
    found = welch(spread_of(list(first)), spread_of(list(second[:-1] if seed else second)))
    interval = free.confidence_interval(0.95)
    assert found == pytest.approx((free.pvalue, interval.low, interval.high), rel=1e-9)


def test_holm_is_worked_by_hand() -> None:
    # 4 * 0.005, 3 * 0.01, 2 * 0.03, and 0.04, which must not be below the one before it.
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.7, "b": 0.6}) == {"b": 1.0, "a": 1.0}
    assert holm({}) == {}


def test_equal_differences_of_few_images_are_not_a_difference_without_a_spread() -> None:
    step = 100 / 360
    assert paired_t([3 * step, 3 * step])[0] == 0.0
    p, low, high = paired_t([3 * step, 3 * step], step)
    # sd = step / sqrt(6), so t = 3 sqrt(6) sqrt(2), one degree of freedom: p = 1 - 2 / pi atan(t).
    assert p == pytest.approx(1 - 2 / math.pi * math.atan(3 * math.sqrt(12)), rel=1e-9)
    assert p > 0.05
    assert low < 0 < high
    assert paired_t([0.0, 0.0])[0] == 1.0
    assert welch(Spread(90.0, 0.0, 2), Spread(90.0, 0.0, 2))[0] == 1.0
    assert welch(Spread(90.0, 0.0, 2), Spread(89.0, 0.0, 2))[0] == 0.0


def test_so_many_pairs_tell_a_difference_four_times_of_five() -> None:
    needed = seeds_to_tell(1.0, 1.0, 1)
    assert needed == 10  # as tables of the paired t-test's power have it for an effect of one sd
    draw = np.random.default_rng(0).normal(1.0, 1.0, (4000, needed))
    told = scipy.stats.ttest_1samp(draw, 0, axis=1).pvalue <= 0.05
    assert told.mean() == pytest.approx(0.8, abs=0.03)
    fewer = scipy.stats.ttest_1samp(draw[:, :-1], 0, axis=1).pvalue <= 0.05
    assert fewer.mean() < 0.8
    assert seeds_to_tell(1.0, 1.0, 8) > needed  # type: ignore[operator]
    assert seeds_to_tell(0.01, 1.0, 1) is None


@pytest.mark.parametrize("count", [2, 3, 8, 20])
def test_the_largest_of_many_normal_numbers(count: int) -> None:
    drawn = np.random.default_rng(1).normal(size=(100_000, count)).max(axis=1)
    assert largest_of(count) == pytest.approx(drawn.mean(), abs=0.03)
