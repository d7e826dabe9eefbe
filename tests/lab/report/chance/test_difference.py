from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from layerlink.lab.report.chance.difference import Difference, compare


def only(values: dict[int, float], others: dict[int, float], step: float = 0.0) -> Difference:
    return compare({"row": values, "base": others}, "base", step)["row"]


def seeds(values: list[float]) -> dict[int, float]:
    return dict(enumerate(values))


def test_rows_are_compared_seed_by_seed() -> None:
    found = only({0: 71.0, 1: 75.0, 2: 90.0}, {0: 70.0, 1: 73.5, 5: 10.0})
    assert (found.mean, found.n, found.paired, found.test) == (1.25, 2, True, "paired t")
    assert found.sd == pytest.approx(statistics.stdev([1.0, 1.5]))
    # One degree of freedom: t = 1.25 / (sd / sqrt(2)) = 5, p = 1 - 2 / pi atan(5).
    assert found.p == pytest.approx(1 - 2 / math.pi * math.atan(5))


def test_a_steady_difference_counts_though_the_seeds_lie_apart() -> None:
    base, links = seeds([66.1, 68.4, 64.9]), seeds([70.0, 72.4, 68.8])
    found = only(links, base)
    assert found.mean == pytest.approx(3.9333, abs=1e-4)
    assert found.told is True
    assert found.corrected == found.p < 0.001  # type: ignore[operator]
    # Welch's, which takes the seeds for independent, tells nothing here.
    apart = only({seed + 10: value for seed, value in links.items()}, base)
    assert (apart.test, apart.paired, apart.told) == ("Welch", False, False)
    assert apart.p is not None
    assert apart.p > 0.05


def test_rows_without_common_seeds_are_compared_by_their_means() -> None:
    found = only({0: 71.0, 1: 73.0}, {2: 70.0, 3: 71.0, 4: 72.0})
    assert (found.mean, found.n, found.paired, found.test) == (1.0, 2, False, "Welch")
    assert found.sd == pytest.approx(math.sqrt(2.0 + 1.0))
    one_common = only({0: 71.0, 1: 73.0}, {1: 70.0, 2: 71.0})
    assert one_common.test == "Welch"


def test_a_single_seed_tells_nothing() -> None:
    for others in ({0: 70.0}, {2: 70.0, 3: 71.0}, {0: 70.0, 3: 71.0}):
        found = only({0: 71.0}, others)
        assert (found.sd, found.p, found.told, found.low, found.more) == (None, None, None, None, None)
    assert only({0: 71.0}, {0: 70.0}).mean == 1.0
    assert only({0: 71.0}, {0: 70.0, 3: 71.0}).mean == 1.0  # over the common seed
    assert compare({"row": {}, "base": {0: 1.0}}, "base") == {}
    assert compare({"row": {0: 1.0}, "base": {}}, "base") == {}


def test_p_values_are_corrected_for_the_number_of_rows() -> None:
    base = seeds([70.0, 71.0, 69.5])
    rows = {
        f"r{k}": seeds(
            [value + 0.4 + 0.1 * k * spread for value, spread in zip(base.values(), (1, -1, 0), strict=True)]
        )
        for k in range(1, 5)
    }
    found = compare({"base": base, **rows}, "base")
    p = {name: it.p for name, it in found.items()}
    assert list(p) == ["r1", "r2", "r3", "r4"]
    assert p["r1"] < p["r2"] < p["r3"] < p["r4"]  # type: ignore[operator]
    assert found["r1"].corrected == pytest.approx(4 * p["r1"])  # type: ignore[operator]
    assert found["r2"].corrected == pytest.approx(max(3 * p["r2"], 4 * p["r1"]))  # type: ignore[operator]
    assert p["r1"] < 0.05 < found["r1"].corrected  # type: ignore[operator]
    assert found["r1"].told is False


def test_the_exact_test_decides_as_soon_as_it_can() -> None:
    draw = np.random.default_rng(3)
    base = seeds(list(draw.normal(70, 1, 6)))
    row = {seed: value + 1 + 0.1 * seed for seed, value in base.items()}
    five = only({seed: row[seed] for seed in range(5)}, base)
    assert (five.test, five.exact) == ("paired t", None)
    six = only(row, base)
    assert (six.test, six.p, six.exact) == ("sign flip", 2 / 64, 2 / 64)
    # With eight rows 2 / 64 could not be below 5 % any more; the exact p is told, the t-test decides.
    many = compare({"base": base, **{f"r{k}": row for k in range(8)}}, "base")
    assert {(it.test, it.exact) for it in many.values()} == {("paired t", 2 / 64)}
    assert all(it.told for it in many.values())


def test_it_says_how_many_more_seeds_would_tell() -> None:
    base = seeds([70.0, 71.0])
    told = only({0: 74.0, 1: 75.01}, base)
    assert (told.told, told.more) == (True, 0)
    near = only({0: 72.0, 1: 74.0}, base)
    assert near.told is False
    assert near.more == 1
    far = only({0: 70.2, 1: 70.9}, base)
    assert far.told is False
    assert far.more is None or far.more > 50
    assert only(base, base).more is None


def test_no_more_false_alarms_than_five_in_a_hundred() -> None:
    draw = np.random.default_rng(7)
    alarms = 0
    for _ in range(300):
        seeds_own = draw.normal(0, 2, 4)
        rows = {f"r{k}": seeds(list(70 + seeds_own + draw.normal(0, 0.3, 4))) for k in range(6)}
        alarms += any(it.told for it in compare(rows, "r0").values())
    assert alarms / 300 < 0.08
