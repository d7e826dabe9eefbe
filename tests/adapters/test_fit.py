"""Every kind of adapter over many pairs of shapes: what comes out, what is trained, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import layerlink as ll
from cases import cases
from layerlink.adapters import ADAPTERS, AdapterError, fit, kinds_that_fit
from layerlink.errors import UsageError

# student, teacher, kind, words, parameters
CASES = [
    ((2, 8), (2, 8), "auto", "none needed", 0),
    ((2, 8), (2, 5), "auto", "linear 8 -> 5", 45),
    ((2, 7, 8), (2, 7, 5), "auto", "linear 8 -> 5", 45),
    ((2, 4, 6, 6), (2, 4, 3, 3), "auto", "pool 6x6 -> 3x3", 0),
    ((2, 4, 3, 3), (2, 4, 6, 5), "auto", "resize 3x3 -> 6x5", 0),
    ((2, 4, 6, 3), (2, 4, 3, 4), "auto", "resize 6x3 -> 3x4", 0),
    ((2, 4, 6, 6), (2, 5, 6, 6), "auto", "conv1x1 4 -> 5", 25),
    ((2, 4, 6, 6), (2, 5, 3, 3), "auto", "pool 6x6 -> 3x3, conv1x1 4 -> 5", 25),
    ((2, 4, 3, 3), (2, 5, 6, 6), "auto", "conv1x1 4 -> 5, resize 3x3 -> 6x6", 25),
    ((2, 4, 6, 6), (2, 4, 6, 6), "conv1x1", "conv1x1 4 -> 4", 20),
    ((2, 6, 6, 4), (2, 5, 6, 6), "auto", "channels first, conv1x1 4 -> 5", 25),
    ((2, 4, 6, 6), (2, 3, 3, 5), "head", "pool 6x6 -> 3x3, conv1x1 4 -> 5, teacher: channels first", 25),
    ((2, 10, 4), (2, 5, 3, 3), "auto", "without 1 class token, tokens -> 3x3, conv1x1 4 -> 5", 25),
    (
        (2, 4, 6, 6),
        (2, 11, 5),
        "auto",
        "pool 6x6 -> 3x3, conv1x1 4 -> 5, 3x3 -> tokens, teacher: without 2 class tokens",
        25,
    ),
    ((2, 17, 4), (2, 16, 4), "auto", "without 1 class token", 0),
    ((2, 16, 4), (2, 17, 5), "auto", "linear 4 -> 5, teacher: without 1 class token", 25),
    ((2, 30, 4), (2, 10, 5), "auto", "resize 30 -> 10 tokens, linear 4 -> 5", 25),
]


@pytest.mark.parametrize(("student", "teacher", "kind", "words", "parameters"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_gives_the_teachers_shape_at_any_batch_size(
    student: tuple[int, ...], teacher: tuple[int, ...], kind: str, words: str, parameters: int, dtype: torch.dtype
) -> None:
    adapter = fit(student, teacher, kind).to(dtype)
    assert adapter.words == words
    assert sum(parameter.numel() for parameter in adapter.parameters()) == parameters
    for count in (1, 3):
        inputs = torch.randn(count, *student[1:], dtype=dtype, requires_grad=True)
        found = adapter(inputs)
        assert found.dtype == dtype
        assert found.shape == adapter.prepare(torch.zeros(count, *teacher[1:])).shape
        found.square().sum().backward()
        assert inputs.grad is not None
        assert inputs.grad.abs().sum() > 0
        assert all(parameter.grad is not None for parameter in adapter.parameters())


@pytest.mark.parametrize(("student", "teacher", "kind"), [case[:3] for case in CASES])
def test_its_gradients_are_those_of_finite_differences(
    student: tuple[int, ...], teacher: tuple[int, ...], kind: str
) -> None:
    adapter = fit(student, teacher, kind).double()
    inputs = torch.randn(1, *student[1:], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(adapter, inputs)


def test_it_works_in_autocast_and_keeps_channels_last() -> None:
    adapter = fit((2, 4, 6, 6), (2, 5, 3, 3)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = torch.randn(2, 4, 6, 6).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        found = adapter(inputs)
    assert found.dtype == torch.bfloat16
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_initial_weights_follow_torchs_seed() -> None:
    def weights() -> torch.Tensor:
        torch.manual_seed(3)
        return torch.cat([parameter.flatten() for parameter in fit((2, 4, 6, 6), (2, 5, 6, 6)).parameters()])

    assert torch.equal(weights(), weights())


@pytest.mark.parametrize(("student", "teacher"), [((1, 8, 16, 16), (1, 16, 4, 4)), ((1, 8, 4, 4), (1, 16, 16, 16))])
def test_the_convolution_sees_the_fewer_positions(student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
    adapter = fit(student, teacher)
    with FlopCounterMode(display=False) as counter:
        adapter(torch.zeros(student))
    assert counter.get_total_flops() == 2 * 16 * 8 * 16  # of 4x4 positions, not of 16x16


def test_a_norm_takes_the_biass_place() -> None:
    adapter = fit((2, 4, 6, 6), (2, 5, 6, 6), "conv1x1", norm=True)
    assert adapter.words == "conv1x1 4 -> 5, batch norm"
    assert {name: tuple(value.shape) for name, value in adapter.named_parameters()} == {
        "steps.0.weight": (5, 4, 1, 1),
        "steps.1.weight": (5,),
        "steps.1.bias": (5,),
    }


@pytest.mark.parametrize(
    ("student", "teacher", "kind", "options", "message"),
    [
        ((2, 4), (2, 5), "liner", {}, "unknown adapter 'liner'. Did you mean linear?"),
        (
            (2, 4, 6, 6),
            (2, 5, 6, 6),
            "conv1x1",
            {"nrom": True},
            "unknown option of the adapter conv1x1 'nrom'. Did you mean norm?",
        ),
        ((2, 4, 6, 6), (2, 5, 6, 6), "conv1x1", {"norm": 3}, "adapter conv1x1: norm must be True or False; got 3"),
        (
            (2, 4, 6, 6),
            (2, 5, 3, 3),
            "pool",
            {},
            "pool leaves channels as they are; student gives (N, 4, 6, 6), teacher (N, 5, 3, 3). Use conv1x1. "
            "Those that fit: auto, conv1x1",
        ),
        ((2, 4, 3, 3), (2, 4, 6, 6), "pool", {}, "Use resize. Those that fit: auto, resize, conv1x1"),
        ((2, 4), (2, 4, 6, 6), "auto", {}, "no adapter brings (N, 4) of the student to (N, 4, 6, 6) of the teacher"),
        ((2, 4, 6, 6), (2, 4), "linear", {}, "linear maps the last axis of (N, C) or (N, L, D)"),
        ((2, 24, 4), (2, 5, 3, 3), "tokens", {}, "24 tokens are no map: neither 3x3 nor a square"),
    ],
)
def test_what_does_not_fit_says_what_does(
    student: tuple[int, ...], teacher: tuple[int, ...], kind: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(AdapterError) as caught:
        fit(student, teacher, kind, **options)
    assert message in str(caught.value)


SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(lambda sizes: (2, *sizes))


@given(SHAPES, SHAPES, st.sampled_from([*ADAPTERS]))
@cases(2)
def test_any_two_shapes_are_brought_together_or_a_sentence_says_why_not(
    student: tuple[int, ...], teacher: tuple[int, ...], kind: str
) -> None:
    try:
        adapter = fit(student, teacher, kind)
    except UsageError as error:
        assert "\n" not in str(error)
        assert kind not in kinds_that_fit(student, teacher)
        return
    found = adapter(torch.zeros(student))
    assert found.shape == adapter.prepare(torch.zeros(teacher)).shape
    assert kind in kinds_that_fit(student, teacher)


def test_an_adapter_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_adapters_of_a_test.py").write_text(
        "from torch import nn\n\n"
        "def wide(student, teacher, *, bias=True):\n"
        "    return nn.Conv2d(student[1], teacher[1], 1, bias=bias)\n\n"
        "def number(student, teacher):\n    return 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    adapter = fit((2, 3, 4, 4), (2, 5, 4, 4), "own_adapters_of_a_test:wide", bias=False)
    assert adapter.words == "wide"
    assert adapter(torch.ones(7, 3, 4, 4)).shape == (7, 5, 4, 4)
    assert sum(parameter.numel() for parameter in adapter.parameters()) == 15
    with pytest.raises(AdapterError, match=r"must give an nn.Module; got int"):
        fit((2, 3), (2, 5), "own_adapters_of_a_test:number")
    with pytest.raises(UsageError, match=r"unknown callable 'wid'\. Did you mean wide"):
        fit((2, 3), (2, 5), "own_adapters_of_a_test:wid")
    layer = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Linear(48, 2))
    other = nn.Sequential(nn.Conv2d(3, 5, 1), nn.Flatten(), nn.Linear(80, 2))
    link = "0 : mse, adapter=own_adapters_of_a_test:wide(bias=False)"
    distiller = ll.Distiller(other, layer, links=[link], example=torch.rand(2, 3, 4, 4))
    distiller(torch.rand(2, 3, 4, 4), torch.tensor([0, 1])).total.backward()
    assert [parameter.grad is not None for parameter in distiller.link_parameters()] == [True]
