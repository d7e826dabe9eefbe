from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layerlink.design.propose.batches import examples_in, few, whole_batches
from layerlink.errors import UsageError


class Two(nn.Module):
    def forward(self, a: Tensor, b: Tensor | None = None) -> Tensor:
        return a if b is None else a + b


ONE, TWO = nn.Linear(3, 2), Two()
X, Y = torch.randn(6, 3), torch.zeros(6, dtype=torch.int64)


@pytest.mark.parametrize(
    ("model", "batch", "kind"),
    [
        (ONE, X, Tensor),
        (ONE, [X, Y], Tensor),
        (ONE, (X, Y), Tensor),
        (TWO, (X, X), tuple),
        (TWO, (X, X, Y), tuple),
        (TWO, [(X, X), Y], tuple),
        (ONE, {"x": X}, dict),
        (ONE, UserDict({"x": X}), dict),
    ],
)
def test_a_batch_is_given_as_the_model_takes_it(model: nn.Module, batch: Any, kind: type) -> None:
    (taken,) = whole_batches([batch], model, 8)
    assert isinstance(taken, kind)
    assert len(taken) == (2 if kind is tuple else 1 if kind is dict else 6)
    assert examples_in(taken) == 6


def test_no_more_batches_are_taken_than_asked_for_and_a_rest_is_left_out() -> None:
    def endless() -> Any:
        while True:
            yield X

    assert len(whole_batches(endless(), ONE, 3)) == 3
    assert len(whole_batches([X, X[:3], X[:4]], ONE, 3)) == 2
    with pytest.raises(UsageError, match="a batch must hold at least 4 examples"):
        whole_batches([X[:3], X], ONE, 3)


def test_the_first_examples_of_whatever_has_a_row_an_example() -> None:
    batch = {"x": X, "scale": torch.ones(()), "table": torch.ones(9, 2), "name": "n"}
    found = few(batch, 4)
    assert {key: getattr(value, "shape", None) for key, value in found.items()} == {
        "x": (4, 3),
        "scale": (),
        "table": (9, 2),
        "name": None,
    }
