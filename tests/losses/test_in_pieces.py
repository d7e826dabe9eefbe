from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from layerlink.losses import cirkd, rkd
from layerlink.losses.in_pieces import rows_at_once, slices, sum_in_pieces
from layerlink.losses.relations import cirkd as cirkd_module
from layerlink.losses.relations import rkd as rkd_module


def work(values: Tensor, some: slice) -> Tensor:
    return (values[some] @ values.T).sin().sum()


PIECES = [slice(0, 2), slice(2, 3), slice(3, 7)]


def test_value_and_gradient_are_those_of_the_whole() -> None:
    torch.manual_seed(0)
    values, again = (torch.randn(7, 3, dtype=torch.float64).requires_grad_() for _ in range(2))
    with torch.no_grad():
        again.copy_(values)
    pieced, whole = 3 * sum_in_pieces(work, values, PIECES), 3 * work(again, slice(0, 7))
    pieced.backward()
    whole.backward()
    torch.testing.assert_close(pieced, whole, rtol=1e-14, atol=0)
    torch.testing.assert_close(values.grad, again.grad, rtol=1e-12, atol=1e-14)
    assert torch.autograd.gradcheck(lambda it: sum_in_pieces(work, it, PIECES), values)


def test_without_a_gradient_none_is_looked_for() -> None:
    seen = []

    def noting(values: Tensor, some: slice) -> Tensor:
        seen.append(torch.is_grad_enabled() and values.requires_grad)
        return work(values, some)

    values = torch.randn(7, 3)
    assert not sum_in_pieces(noting, values, PIECES).requires_grad
    with torch.no_grad():
        sum_in_pieces(noting, values.requires_grad_(), PIECES)
    assert seen == [False] * 6


@pytest.mark.parametrize(
    ("loss", "module", "cached", "shape", "of_teacher"),
    [
        (rkd, rkd_module, "TRIPLES", (7, 4), (7, 6)),
        (cirkd, cirkd_module, "SCORES", (5, 4, 3, 3), (5, 6, 3, 3)),
    ],
)
def test_a_loss_is_the_same_however_it_is_cut(
    loss: Any, module: Any, cached: str, shape: Any, of_teacher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(shape, dtype=torch.float64, requires_grad=True), torch.randn(of_teacher).double()
    found = []
    for numbers in (1, 9 * 5 * 9 * 2, 1 << 30):  # an example, some, all
        monkeypatch.setattr(module, cached, numbers)
        value = loss(student, teacher)
        found.append((value.detach(), *torch.autograd.grad(value, student)))
    for value, gradient in found[1:]:
        torch.testing.assert_close(value, found[0][0], rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, found[0][1], rtol=1e-10, atol=1e-14)


def test_pieces_hold_what_the_cache_does_and_more_on_an_accelerator() -> None:
    assert slices(7, 3) == [slice(0, 3), slice(3, 6), slice(6, 9)]
    assert slices(0, 3) == []
    assert rows_at_once(100, torch.device("cpu"), 350) == 3
    assert rows_at_once(400, torch.device("cpu"), 350) == 1
    assert rows_at_once(128**2, torch.device("cuda"), 350) == 1024
