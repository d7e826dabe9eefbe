from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layerlink.design.shrink.source.buffers import keep_buffers, made_by, own_tensors

INF = float("inf")


@pytest.mark.parametrize(
    "value",
    [
        torch.tril(torch.ones(5, 5)).view(1, 1, 5, 5),
        torch.tril(torch.ones(4, 6, dtype=torch.bool)),
        torch.triu(torch.ones(5, 5, dtype=torch.bool), diagonal=1),
        torch.triu(torch.full((5, 5), -INF), diagonal=1),
        torch.triu(torch.full((1, 5, 5), -1e9), diagonal=1),
        torch.arange(7).view(1, 7),
        torch.arange(7.0),
        torch.zeros(3, dtype=torch.int32),
        torch.ones(2, 3),
    ],
)
def test_code_makes_the_same_constant(value: Tensor) -> None:
    again = eval(made_by(value))
    assert again.dtype == value.dtype
    assert torch.equal(again, value)


def test_what_no_call_makes_is_not_taken_for_one() -> None:
    mask = torch.tril(torch.ones(5, 5))
    mask[4, 0] = 0
    for value in (mask, torch.rand(3, 3), torch.tensor([0, 2, 1]), torch.zeros(0)):
        assert made_by(value) == ""


def test_buffers_that_no_code_makes_are_saved_from_now_on() -> None:
    module = nn.Module()
    values = {"mask": torch.tril(torch.ones(9, 9)), "few": torch.rand(4), "many": torch.rand(99)}
    for name, value in values.items():
        module.register_buffer(name, value, persistent=False)
    assert keep_buffers(module) == ["many"]
    assert list(module.state_dict()) == ["many"]
    code = dict(own_tensors(module))
    assert list(code) == ["mask!passing", "few!passing", "many!zeros"]
    assert torch.equal(eval(str(code["few!passing"])), values["few"])
