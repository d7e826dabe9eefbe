from __future__ import annotations

import pytest

from layerlink.transfer.schedule import weight_at


@pytest.mark.parametrize(
    ("until", "decay", "epoch", "expected"),
    [
        (None, "none", 9.9, 2.0),
        (3.0, "none", 2.9, 2.0),
        (3.0, "none", 3.0, 0.0),
        (None, "linear", 5.0, 1.0),
        (4.0, "linear", 1.0, 1.5),
        (20.0, "linear", 5.0, 1.0),
        (4.0, None, 3.0, 2.0),
    ],
)
def test_a_weight_of_2_in_10_epochs(until: float | None, decay: str | None, epoch: float, expected: float) -> None:
    assert weight_at(2.0, until, decay, epoch, 10) == pytest.approx(expected)  # type: ignore[arg-type]
