from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerlink.errors import UsageError
from layerlink.transfer.schedule import Schedule


@pytest.mark.parametrize(
    ("schedule", "epoch", "expected"),
    [
        (Schedule(), 9.9, 2.0),
        (Schedule(until=3.0), 2.9, 2.0),
        (Schedule(until=3.0), 3.0, None),
        (Schedule(decay="linear"), 5.0, 1.0),
        (Schedule(until=4.0, decay="linear"), 1.0, 1.5),
        (Schedule(until=20.0, decay="linear"), 5.0, 1.0),
        (Schedule(start=2.0), 1.99, None),
        (Schedule(start=2.0), 2.0, 2.0),
        (Schedule(warmup=4.0), 0.0, 0.0),
        (Schedule(warmup=4.0), 1.0, 0.5),
        (Schedule(warmup=4.0), 4.0, 2.0),
        (Schedule(start=2.0, warmup=4.0), 3.0, 0.5),
        (Schedule(start=2.0, until=6.0, decay="linear"), 3.0, 1.5),
        (Schedule(start=2.0, until=6.0, warmup=2.0, decay="linear"), 3.0, 0.75),
        (Schedule(start=20.0), 9.0, None),
    ],
)
def test_a_weight_of_2_in_10_epochs(schedule: Schedule, epoch: float, expected: float | None) -> None:
    assert schedule.weight_at(2.0, epoch, 10) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"until": 0}, "x: until must be a finite number of epochs > 0; got 0"),
        ({"start": -1}, "x: from must be a finite number of epochs >= 0; got -1"),
        ({"warmup": float("nan")}, "x: warmup must be a finite number of epochs >= 0; got nan"),
        ({"start": 3, "until": 3}, "x: until must be later than from (3); got 3"),
        ({"start": "2"}, "x: from must be a finite number of epochs >= 0; got '2'"),
        ({"decay": "linaer"}, "x: unknown decay 'linaer'. Did you mean linear?"),
    ],
)
def test_what_is_impossible_is_told(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Schedule(**fields).check("x: ")
    assert str(caught.value) == message


TIMES = st.floats(0, 50)


@given(TIMES, TIMES, TIMES, st.sampled_from(["none", "linear"]), TIMES, st.floats(0.1, 50))
def test_a_weight_is_never_above_the_full_one_nor_negative(
    start: float, until: float, warmup: float, decay: Any, epoch: float, epochs: float
) -> None:
    found = Schedule(start, until if until > start else None, warmup, decay).weight_at(3.0, epoch, epochs)
    assert found is None or 0 <= found <= 3
