"""Whose fault an unforeseen error is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from layerlink import user_code
from layerlink.data.views import Views
from layerlink.lab.run.failures import StudentError, failing_alone
from layerlink.taps.modules import call_model
from layerlink.user_code import whose


class Broken(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("the matrix is singular")


def wrong_shape() -> Any:
    return call_model(nn.Linear(3, 2), torch.zeros(1, 4))  # comes up in torch, below a model


def own_code() -> Any:
    return call_model(Broken(), torch.zeros(1))


def wrong_use_of_torch() -> Any:
    return Views(8, "no", "numbers")(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        (wrong_shape, "It came up below layerlink, in a model or a library."),
        (own_code, "It came up in your own code: "),
        (wrong_use_of_torch, "This is a fault of layerlink."),
    ],
)
def test_the_blame_is_where_the_error_came_up(
    fails: Callable[[], Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fails is not own_code:  # this file is a user's own code, too
        monkeypatch.setattr("layerlink.user_code._OTHERS", (*user_code._OTHERS, __file__))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any
        fails()
    assert whose(caught.value).startswith(expected)
    with pytest.raises(StudentError) as told, failing_alone("epoch 1, step 2"):
        fails()
    assert str(told.value).startswith(f"epoch 1, step 2: {type(caught.value).__name__}: {caught.value}")
    place = whose(caught.value).removeprefix("It came up in your own code: ").rstrip(".") if fails is own_code else ""
    assert str(told.value).endswith(f" ({place})" if place else f". {expected}")
