from __future__ import annotations

import pytest
import torch
from torch import Tensor

from layerlink.losses import cirkd, rkd
from layerlink.losses.in_pieces import sum_in_pieces
from layerlink.losses.relations import cirkd as module
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


def test_rkd_is_the_same_however_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(7, 4, dtype=torch.float64, requires_grad=True), torch.randn(7, 6).double()
    found = []
    for triples in (1, 2 * 49, 1 << 30):  # a corner, two, all
        monkeypatch.setattr(rkd_module, "TRIPLES", triples)
        value = rkd(student, teacher)
        found.append((value.detach(), *torch.autograd.grad(value, student)))
    for value, gradient in found[1:]:
        torch.testing.assert_close(value, found[0][0], rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, found[0][1], rtol=1e-10, atol=1e-14)


def test_cirkd_is_the_same_however_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    student = torch.randn(5, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(5, 6, 3, 3, dtype=torch.float64)
    found = []
    for scores in (1, 9 * 5 * 9 * 2, 1 << 30):  # an image, two, all
        monkeypatch.setattr(module, "SCORES", scores)
        value = cirkd(student, teacher)
        found.append((value.detach(), *torch.autograd.grad(value, student)))
    for value, gradient in found[1:]:
        torch.testing.assert_close(value, found[0][0], rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, found[0][1], rtol=1e-10, atol=1e-14)
