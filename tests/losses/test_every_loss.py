"""One tester over every loss: its equation by another route, its gradients, its limits."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from layerlink.losses import LOSSES, ShapeError
from loss_cases import CASES, LossCase, Side

every_case = pytest.mark.parametrize("case", CASES, ids=str)
masked_case = pytest.mark.parametrize("case", [case for case in CASES if case.masked is not None], ids=str)


def tensors(side: Side) -> tuple[Tensor, ...]:
    return side if isinstance(side, tuple) else (side,)


def learning(side: Side) -> Side:
    """The side with gradients."""
    own = tuple(value.clone().requires_grad_() for value in tensors(side))
    return own if isinstance(side, tuple) else own[0]


def arrays(side: Side) -> Any:
    return [value.numpy() for value in side] if isinstance(side, tuple) else side.numpy()


def check_value(case: LossCase, loss: Callable[..., Tensor], mask: Tensor | None = None) -> None:
    """Raise ``AssertionError`` unless a loss is the equation's."""
    assert case.reference is not None
    student, teacher = case.pair()
    context = case.context(5, mask)
    if mask is None:
        context.pop("mask", None)
    given = {name: value.numpy() for name, value in context.items() if isinstance(value, Tensor)}
    expected = case.reference(arrays(student), arrays(teacher), **given, **case.options)
    assert float(loss(student, teacher, **context).detach()) == pytest.approx(expected, rel=1e-9)


def test_every_loss_of_the_table_is_here() -> None:
    assert {case.name for case in CASES} == LOSSES.keys()


@pytest.mark.parametrize("case", [case for case in CASES if case.reference is not None], ids=str)
def test_it_is_its_equation(case: LossCase) -> None:
    check_value(case, case.build())


@masked_case
def test_it_is_its_equation_over_what_the_mask_keeps(case: LossCase) -> None:
    check_value(case, case.build(), random_mask(case, 5))


def random_mask(case: LossCase, count: int) -> Tensor:
    assert case.masked is not None
    mask = torch.rand(count, *case.masked, generator=torch.Generator().manual_seed(1)) > 0.4
    mask.view(count, -1)[0] = True
    return mask


def test_the_tester_fails_on_a_wrong_formula() -> None:
    for case in (case for case in CASES if case.reference is not None):
        loss = case.build()
        with pytest.raises(AssertionError):
            check_value(case, lambda *sides, _loss=loss, **given: 1.0001 * _loss(*sides, **given))


@pytest.mark.parametrize("case", [case for case in CASES if case.whole_gradient], ids=str)
def test_its_gradient_is_that_of_finite_differences(case: LossCase) -> None:
    loss, count = case.build(), 5 if case.name == "cka" else 3  # of which there is none for fewer than 4
    student, teacher = case.pair(count)
    if case.name == "crd":  # its scale is that of the first batch, and its memory would move between the differences
        loss(student, teacher, **case.context(count))
        loss.eval()  # type: ignore[attr-defined]
    if case.draws:
        loss.eval()  # type: ignore[attr-defined]
    own = tensors(learning(student))

    def value(*given: Tensor) -> Tensor:
        return loss(given if isinstance(student, tuple) else given[0], teacher, **case.context(count))

    assert torch.autograd.gradcheck(value, own, atol=1e-5)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_its_dtype_is_the_inputs_and_at_least_float32(case: LossCase, dtype: torch.dtype) -> None:
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    loss = case.build(wide)
    student, teacher = case.pair(dtype=dtype)
    if isinstance(loss, torch.nn.Module):  # under autocast activations are halves and weights are not
        student = torch.utils._pytree.tree_map(lambda value: value.to(wide), student)
    student, teacher = learning(student), learning(teacher)
    value = loss(student, teacher, **case.context(5))
    assert value.ndim == 0
    assert value.dtype == wide
    value.backward()
    assert all(own.grad is not None and bool(own.grad.isfinite().all()) for own in tensors(student))
    assert all(other.grad is None for other in tensors(teacher))


@every_case
@pytest.mark.parametrize(("own", "other"), [(torch.float32, torch.float64), (torch.float64, torch.float32)])
def test_a_teacher_in_other_digits_gives_the_gradient_of_the_student_s(
    case: LossCase, own: torch.dtype, other: torch.dtype
) -> None:
    """torch's own losses take two dtypes, and in some versions have no gradient then."""
    cast = torch.utils._pytree.tree_map
    loss = case.build(own)
    student, teacher = (cast(lambda value: value.float(), side) for side in case.pair())
    given = learning(cast(lambda value: value.to(own), student))
    value = loss(given, cast(lambda value: value.to(other), teacher), **case.context(5))
    value.backward()
    assert all(side.grad is not None and side.grad.dtype == own for side in tensors(given))
    same = case.build(own)(
        cast(lambda value: value.to(own), student), cast(lambda value: value.to(own), teacher), **case.context(5)
    )
    if not case.draws:
        assert float(value.detach()) == pytest.approx(float(same.detach()), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("case", [case for case in CASES if case.kind.is_module and not case.draws], ids=str)
def test_what_it_trains_may_be_bfloat16(case: LossCase) -> None:
    """Beside a student in bfloat16 it is made so, and gives what the same weights give in float64."""
    loss = case.build(torch.bfloat16)
    exact = deepcopy(loss).double()  # type: ignore[attr-defined]
    student, teacher = case.pair(dtype=torch.bfloat16)
    value = loss(learning(student), teacher, **case.context(5))
    assert value.dtype == torch.float32
    wide = [torch.utils._pytree.tree_map(lambda x: x.double(), side) for side in (student, teacher)]
    assert float(value.detach()) == pytest.approx(float(exact(*wide, **case.context(5)).detach()), rel=0.05)


@pytest.mark.parametrize("case", [case for case in CASES if case.at_equality is not None], ids=str)
def test_its_value_for_equal_sides_is_the_constant_that_it_states(case: LossCase) -> None:
    student, _ = replace(case, teacher=case.student).pair()
    found = case.build()(student, student, **case.context(5)).detach()
    assert float(found) == pytest.approx(case.at_equality, abs=1e-12)


STEEP = ("simkd",)  # three batch normalisations of what does not vary multiply by 316 each


@every_case
@pytest.mark.parametrize("how", ["a gap of 10^4", "constant", "zero", "one example"])
def test_value_and_gradient_stay_finite(case: LossCase, how: str) -> None:
    count = 2 if how != "one example" else 1
    loss = case.build(torch.float32)
    student, teacher = case.pair(count, torch.float32)
    change: Callable[[Tensor], Tensor] = {
        "a gap of 10^4": lambda x: torch.where(x > 0, 1e4, 0.0).to(x),
        "constant": lambda x: torch.full_like(x, 3.0),
        "zero": torch.zeros_like,
        "one example": lambda x: x,
    }[how]
    student = learning(torch.utils._pytree.tree_map(change, student))
    teacher = torch.utils._pytree.tree_map(lambda x: change(-x), teacher)
    value = loss(student, teacher, **case.context(count))
    value.backward()
    assert bool(value.isfinite()), value
    assert all(own.grad is not None and bool(own.grad.isfinite().all()) for own in tensors(student))
    if how != "a gap of 10^4" and case.name not in STEEP:  # a root or a length at 0 would give 10^7 and more
        assert max(float(own.grad.abs().max()) for own in tensors(student) if own.grad is not None) < 100


def hidden(mask: Tensor, values: Tensor) -> Tensor:
    """What a mask leaves out of an activation: of maps of attention, tokens have rows and columns."""
    if values.ndim == 4 and mask.ndim == 2:
        return ~(mask[:, None, :, None] & mask[:, None, None])
    return ~mask.unsqueeze(2 if values.ndim == 3 else 1)


@masked_case
def test_what_is_masked_changes_neither_value_nor_gradient(case: LossCase) -> None:
    loss, mask = case.build(), random_mask(case, 5)
    context = case.context(5, mask)
    found = []
    for junk in (0.0, 1e30, float("nan"), float("inf")):
        student, teacher = (
            torch.utils._pytree.tree_map(lambda x, fill=fill: torch.where(hidden(mask, x), fill, x), side)
            for fill, side in zip((junk, -junk), case.pair(), strict=True)
        )
        student = learning(student)
        value = loss(student, teacher, **context)
        value.backward()
        gradients = []
        for own in tensors(student):
            assert own.grad is not None
            assert float(own.grad[hidden(mask, own).expand_as(own)].abs().sum()) == 0
            gradients.append(own.grad.flatten())
        found.append((float(value.detach()), torch.cat(gradients)))
    assert all(value == found[0][0] and torch.equal(gradient, found[0][1]) for value, gradient in found)
    inverted = loss(*case.pair(), **{**context, "mask": ~mask})
    assert float(inverted.detach()) != pytest.approx(found[0][0])


@masked_case
def test_all_masked_gives_0_with_a_graph(case: LossCase) -> None:
    student, teacher = case.pair()
    student = learning(student)
    mask = torch.zeros(5, *(case.masked or ()), dtype=torch.bool)
    value = case.build()(student, teacher, **case.context(5, mask))
    assert float(value.detach()) == 0
    value.backward()
    assert all(own.grad is not None and not own.grad.abs().sum() for own in tensors(student))


@pytest.mark.parametrize("case", [c for c in CASES if not c.kind.between_images and not c.kind.is_module], ids=str)
def test_parts_of_a_batch_sum_to_the_whole(case: LossCase) -> None:
    loss, context = case.build(), case.context(5)
    student, teacher = case.pair()

    def part(where: slice) -> float:
        own, other = (torch.utils._pytree.tree_map(lambda x: x[where], side) for side in (student, teacher))
        given = {name: value[where] if isinstance(value, Tensor) else value for name, value in context.items()}
        return float(loss(own, other, **given))

    whole = float(loss(student, teacher, **context))
    assert 0.4 * part(slice(0, 2)) + 0.6 * part(slice(2, 5)) == pytest.approx(whole)


BY_ORDER = ("crd", "cc")  # of its memory; of neighbours in the batch


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in CASES
        if (case.name not in BY_ORDER or case.options.get("form") == "gaussian") and not case.draws
    ],
    ids=str,
)
def test_the_order_of_images_changes_nothing(case: LossCase) -> None:
    loss, context = case.build(), case.context(5)
    student, teacher = case.pair()
    order = torch.tensor([3, 0, 4, 1, 2])
    own, other = (torch.utils._pytree.tree_map(lambda x: x[order], side) for side in (student, teacher))
    given = {name: value[order] if isinstance(value, Tensor) else value for name, value in context.items()}
    found, expected = loss(own, other, **given).detach(), loss(student, teacher, **context).detach()
    assert float(found) == pytest.approx(float(expected))


@pytest.mark.parametrize("case", [case for case in CASES if case.kind.degree is not None], ids=str)
def test_it_grows_by_the_degree_that_the_table_states(case: LossCase) -> None:
    loss = case.build()
    student, teacher = case.pair()
    scaled = [torch.utils._pytree.tree_map(lambda x: 3 * x, side) for side in (student, teacher)]
    degree = case.kind.degree
    assert degree is not None
    context = case.context(5)
    expected = 3**degree * float(loss(student, teacher, **context))
    assert float(loss(*scaled, **context)) == pytest.approx(expected, rel=1e-9)


@every_case
def test_other_shapes_are_refused_never_broadcast(case: LossCase) -> None:
    loss = case.build()
    student, teacher = case.pair()
    short = torch.utils._pytree.tree_map(lambda x: x[:1], teacher)
    with pytest.raises(ShapeError):
        loss(student, short, **case.context(5))
    if case.kind.same_shape and case.student != ((1,),):
        thin = torch.utils._pytree.tree_map(lambda x: x[:, :1], teacher)
        with pytest.raises(ShapeError):
            loss(student, thin, **case.context(5))
    with pytest.raises(ShapeError):
        loss(torch.utils._pytree.tree_map(lambda x: x.long(), student), teacher, **case.context(5))


def test_values_of_before_are_the_same_bits() -> None:
    """``kd`` is ``soft``, and a mask of None changes nothing."""
    from layerlink.losses import kd, soft_cross_entropy

    generator = np.random.default_rng(0)
    student, teacher = (torch.tensor(generator.standard_normal((8, 10)), dtype=torch.float32) for _ in range(2))
    assert torch.equal(kd(student, teacher, temperature=3.0), soft_cross_entropy(student, teacher, temperature=3.0))


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_takes_no_digits_from_a_formula(case: LossCase, dtype: torch.dtype) -> None:
    if case.kind.is_module:  # its layers are the autocast's
        return
    loss = case.build()
    student, teacher = case.pair(dtype=dtype)
    other = case.pair(dtype=dtype, seed=9)[0]
    near = torch.utils._pytree.tree_map(lambda x, y: x + y / 16, student, other)  # where rounding is all there is
    for side in (teacher, near) if case.kind.same_shape else (teacher,):
        plain = float(loss(student, side, **case.context(5)))
        with torch.autocast("cpu", torch.bfloat16):
            assert float(loss(student, side, **case.context(5))) == pytest.approx(plain, rel=1e-6)
