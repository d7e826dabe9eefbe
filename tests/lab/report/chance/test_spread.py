from __future__ import annotations

import statistics

import pytest

from layerlink.lab.report.chance.spread import Spread, spread_of


@pytest.mark.parametrize("values", [[64.78, 65.51], [1.0, 2.0, 4.0], [10.0, 10.0, 10.0], [1e8, 1e8 + 1, 1e8 + 2]])
def test_mean_and_sample_sd_are_those_of_the_statistics_module(values: list[float]) -> None:
    found = spread_of(values)
    assert found.n == len(values)
    assert found.mean == pytest.approx(statistics.mean(values), rel=1e-12)
    assert found.sd == pytest.approx(statistics.stdev(values), rel=1e-9)


def test_one_value_has_no_spread() -> None:
    assert spread_of([3.5]) == Spread(3.5, None, 1)
