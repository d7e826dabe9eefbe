"""Losses over shapes, dtypes, magnitudes and temperatures, against float64 arithmetic in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cases import cases
from layerlink.losses import ShapeError, hard_cross_entropy, mse, soft_cross_entropy

DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16])
LARGEST = {torch.float16: 1e3, torch.bfloat16: 1e30, torch.float32: 1e30, torch.float64: 1e30}
SHAPES = st.lists(st.integers(1, 5), max_size=5).map(tuple)
LOGITS = st.tuples(st.integers(1, 6), st.integers(2, 12))


@st.composite
def tensors(draw: st.DrawFn, shape: tuple[int, ...], largest: float = 1e30, dtype: Any = None) -> Tensor:
    """A tensor whose values reach any size up to ``largest``: random, equal, or with one that stands out."""
    dtype = dtype or draw(DTYPES)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    size = min(draw(st.sampled_from([0.0, 1e-30, 1e-6, 0.1, 1.0, 30.0, 1e3, 1e9, 1e18, 1e30])), largest, LARGEST[dtype])
    values = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    kind = draw(st.sampled_from(["random", "equal", "one", "relu"]))
    if kind == "equal":
        values = torch.ones(shape, dtype=torch.float64)
    elif kind == "one":
        values = values * 1e-3
        values.view(-1)[draw(st.integers(0, values.numel() - 1))] = draw(st.sampled_from([1.0, -1.0]))
    elif kind == "relu":
        values = values.relu()
    return (values * size).to(dtype)


def exact(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().double().numpy()


def log_softmax(z: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def with_gradient(loss: Any, student: Tensor, *rest: Any, **named: Any) -> tuple[float, Tensor]:
    student = student.clone().requires_grad_()
    value = loss(student, *rest, **named)
    assert value.ndim == 0
    assert value.dtype in (torch.float32, torch.float64)
    value.backward()
    assert student.grad is not None
    assert bool(student.grad.isfinite().all()), student.grad
    return float(value.detach()), student.grad


@given(st.data(), SHAPES)
@cases(2)
def test_mse_is_the_definition(data: st.DataObject, shape: tuple[int, ...]) -> None:
    dtype = data.draw(DTYPES)
    student = data.draw(tensors(shape, dtype=dtype))
    teacher = data.draw(tensors(shape, LARGEST[dtype]))  # the gradient must fit into the student's dtype
    value, gradient = with_gradient(mse, student, teacher)
    difference = exact(student) - exact(teacher)
    expected = float(np.square(difference).mean())
    if expected * difference.size > 1e38 and torch.float64 not in (student.dtype, teacher.dtype):
        assert value == float("inf") or value == pytest.approx(expected, rel=1e-5)  # it leaves float32, and says so
    else:
        assert value == pytest.approx(expected, rel=1e-5, abs=1e-36)
    digits = {torch.bfloat16: 1e-2, torch.float16: 2e-3}.get(student.dtype, 1e-5)
    floor = 1e-7 if student.dtype == torch.float16 else 1e-36
    assert np.allclose(exact(gradient), 2 * difference / difference.size, rtol=digits, atol=floor)
    assert float(mse(teacher, teacher)) == 0


@given(st.data(), LOGITS, st.floats(0.01, 1000), st.booleans(), st.booleans())
@cases(2)
def test_soft_is_the_definition(
    data: st.DataObject, shape: tuple[int, int], temperature: float, t_squared: bool, entropy: bool
) -> None:
    student, teacher = data.draw(tensors(shape)), data.draw(tensors(shape))
    value, _ = with_gradient(
        soft_cross_entropy, student, teacher, temperature=temperature, t_squared=t_squared, entropy=entropy
    )
    ours, theirs = log_softmax(exact(student) / temperature), log_softmax(exact(teacher) / temperature)
    terms = np.exp(theirs) * ((theirs if entropy else 0) - ours)
    factor = temperature**2 if t_squared else 1
    largest = max(np.abs(exact(student)).max(), np.abs(exact(teacher)).max()) / temperature
    # As its docstring states.
    assert value == pytest.approx(float(terms.sum(axis=1).mean()) * factor, rel=1e-5, abs=1e-6 * (1 + largest) * factor)
    if entropy:
        assert float(soft_cross_entropy(teacher, teacher, temperature=temperature, t_squared=t_squared)) == 0


@given(st.data(), LOGITS, st.floats(0, 1), st.booleans())
@cases(2)
def test_hard_is_the_definition(
    data: st.DataObject, shape: tuple[int, int], smoothing: float, probabilities: bool
) -> None:
    logits = data.draw(tensors(shape))
    classes = shape[1]
    labels = torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), min_size=shape[0], max_size=shape[0])))
    share = np.eye(classes)[labels.numpy()]
    target = torch.tensor(share) if probabilities else labels
    value, _ = with_gradient(hard_cross_entropy, logits, target, label_smoothing=smoothing)
    share = (1 - smoothing) * share + smoothing / classes
    expected = float(-(share * log_softmax(exact(logits))).sum(axis=1).mean())
    assert value == pytest.approx(expected, rel=1e-5, abs=2e-6 * (1 + np.abs(exact(logits)).max()))


ANY_SHAPE = st.lists(st.integers(0, 3), max_size=4).map(tuple)
ANY_DTYPE = st.sampled_from([torch.float32, torch.float16, torch.int64, torch.uint8, torch.bool, torch.complex64])


@given(ANY_SHAPE, ANY_SHAPE, ANY_DTYPE, ANY_DTYPE)
@cases(2)
def test_what_cannot_be_compared_is_told_and_what_can_is_a_number(
    first: tuple[int, ...], second: tuple[int, ...], one: torch.dtype, other: torch.dtype
) -> None:
    student, teacher = torch.zeros(first, dtype=one), torch.zeros(second, dtype=other)
    for loss in (mse, hard_cross_entropy, lambda s, t: soft_cross_entropy(s, t, temperature=2)):
        try:
            value = loss(student, teacher)
        except ShapeError as error:
            assert str(error)
        else:
            assert bool(value.isfinite())


def test_probabilities_keep_their_digits_beside_logits_of_few() -> None:
    share = torch.full((1, 3), 1 / 3)
    assert float(hard_cross_entropy(torch.zeros(1, 3, dtype=torch.bfloat16), share)) == pytest.approx(
        np.log(3), rel=1e-6
    )


def test_nothing_has_no_mean() -> None:
    nothing = torch.zeros(0, 3)
    with pytest.raises(ShapeError, match=r"mse needs at least one element; student gives \(0, 3\)"):
        mse(nothing, nothing)
    with pytest.raises(ShapeError, match="soft loss needs at least one element"):
        soft_cross_entropy(nothing, nothing, temperature=1)
    with pytest.raises(ShapeError, match="hard loss needs at least one element"):
        hard_cross_entropy(nothing, torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"hard loss needs floating-point logits; got torch.int64"):
        hard_cross_entropy(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
