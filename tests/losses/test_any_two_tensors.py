"""Any two tensors, any mask and options: a loss gives a finite number of the right kind, or a sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cases import cases
from layerlink.errors import UsageError
from layerlink.losses import LOSSES, Facts, LossKind
from loss_cases.base import head

SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)
FUNCTIONS = [name for name, kind in LOSSES.items() if not kind.is_module and kind.taps == 1]
MODULES = [name for name, kind in LOSSES.items() if kind.is_module and kind.taps == 1]
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float64, torch.int64])


def drawn(shape: tuple[int, ...], dtype: torch.dtype, seed: int, size: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * size).to(dtype)


def context_of(kind: LossKind, student: Tensor, teacher: Tensor) -> dict[str, Any]:
    known = {
        "labels": torch.zeros(student.shape[:1], dtype=torch.int64),
        "indices": torch.arange(2),
        **{
            f"{whose}_head": head(max(1, (*side.shape, 1, 1)[1]), 1)
            for whose, side in (("student", student), ("teacher", teacher))
        },
    }
    return {name: value for name, value in known.items() if name in kind.needs()}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(
    SHAPES, SHAPES, st.booleans(), DTYPES, st.none() | SHAPES, st.sampled_from([0.0, 1e-6, 1.0, 1e4]), st.integers(0, 9)
)
@cases(1)
def test_a_function_gives_a_number_or_a_sentence(
    name: str,
    shape: tuple[int, ...],
    other: tuple[int, ...],
    same: bool,
    dtype: torch.dtype,
    mask: tuple[int, ...] | None,
    size: float,
    seed: int,
) -> None:
    kind = LOSSES[name]
    student, teacher = (drawn(it, dtype, seed + at, size) for at, it in enumerate((shape, shape if same else other)))
    given_context = context_of(kind, student, teacher)
    if mask is not None and "mask" in kind.needs():
        given_context["mask"] = torch.ones(mask, dtype=torch.bool)
    try:
        value = kind.make(student, teacher, **given_context)
    except UsageError as error:
        assert "\n" not in str(error)
        return
    assert value.ndim == 0
    assert bool(value.isfinite())
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("name", MODULES)
@given(SHAPES, SHAPES)
@cases(1)
def test_a_module_is_made_or_a_sentence_says_why_not(name: str, shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    sizes = torch.Size((2, *shape)), torch.Size((2, *other))
    try:
        loss = LOSSES[name].build(*sizes, {}, Facts(train_size=50, num_classes=3))
        student, teacher = torch.randn(sizes[0]), torch.randn(sizes[1])
        value = loss(student, teacher, **context_of(LOSSES[name], student, teacher))
    except UsageError as error:
        assert "\n" not in str(error)
        return
    assert bool(value.detach().isfinite())
