from __future__ import annotations

import pytest

from layerlink.errors import UsageError
from layerlink.transfer import Soft


@pytest.mark.parametrize("temperature", [0, -1, 1e-40, 0.009, 1001, 1e30, float("inf"), float("nan")])
def test_a_temperature_at_which_float32_gives_wrong_numbers_is_refused(temperature: float) -> None:
    with pytest.raises(UsageError, match=r"soft: temperature must lie in 0\.01\.\.1000; got"):
        Soft(temperature)


@pytest.mark.parametrize("temperature", [0.01, 1, 1000])
def test_temperatures_at_the_ends_are_taken(temperature: float) -> None:
    assert Soft(temperature).temperature == temperature
