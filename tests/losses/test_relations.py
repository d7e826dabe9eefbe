"""Losses between examples: what their papers claim, and batches that are too small or all the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from layerlink.errors import UsageError
from layerlink.losses import CC, CRD, ICKD, ITRD, LOSSES, ShapeError, cirkd, cka, pkt, rkd, sinkd


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turned(values: Tensor) -> Tensor:
    """By an orthogonal matrix."""
    turn, _ = torch.linalg.qr(drawn(values.shape[1], values.shape[1], seed=9))
    return values @ turn


@pytest.mark.parametrize("options", [{}, {"form": "paper"}])
def test_pkt_and_cka_do_not_see_a_rotation_nor_cka_a_shift(options: dict[str, Any]) -> None:
    student, teacher = drawn(9, 5), drawn(9, 7, seed=1)
    assert float(pkt(turned(student), 3 * teacher, **options)) == pytest.approx(float(pkt(student, teacher, **options)))
    for unbiased in (True, False):
        moved = cka(turned(student) + 4, 3 * teacher - 1, unbiased=unbiased)
        assert float(moved) == pytest.approx(float(cka(student, teacher, unbiased=unbiased)))
        assert float(cka(2 * turned(student) + 1, student, unbiased=unbiased)) == pytest.approx(0, abs=1e-12)


def test_unbiased_cka_of_features_that_know_nothing_of_each_other_is_1_on_average() -> None:
    found = [
        [float(cka(drawn(8, 200, seed=s), drawn(8, 100, seed=s + 500), unbiased=u)) for s in range(200)]
        for u in (True, False)
    ]
    unbiased, biased = (sum(values) / len(values) for values in found)
    assert abs(unbiased - 1) < 0.02  # 4 standard errors
    assert biased < 0.2  # eight examples in 100 dimensions look alike


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_cka_of_few_examples_is_finite(count: int) -> None:
    student = drawn(count, 5).requires_grad_()
    value = cka(student, drawn(count, 7, seed=1))
    value.backward()
    assert student.grad is not None
    assert bool(student.grad.isfinite().all())
    if count < 4:
        assert float(value.detach()) == float(student.grad.abs().sum()) == 0
    else:
        assert 0 <= float(value.detach()) <= 2


def check_finite(loss: Any, student: Tensor, teacher: Tensor) -> float:
    student = student.clone().requires_grad_()
    value = loss(student, teacher)
    value.backward()
    assert bool(value.isfinite())
    assert student.grad is not None
    assert bool(student.grad.isfinite().all())
    return float(value.detach())


BETWEEN = [name for name, kind in LOSSES.items() if kind.between_images and kind.taps == 1 and name != "crd"]


@pytest.mark.parametrize("name", [*BETWEEN, "ickd"])
@pytest.mark.parametrize("how", ["constant", "zero", "large", "one stands out", "far away"])
def test_eight_examples_of_any_kind_give_finite_values_and_gradients(name: str, how: str) -> None:
    shape = (8, 3, 4, 4) if name in ("cirkd", "ickd") else (8, 6)
    student, teacher = drawn(*shape).float(), drawn(*shape, seed=1).float()
    torch.manual_seed(0)
    loss = LOSSES[name].build(student.shape, teacher.shape, {}, None)  # type: ignore[arg-type]
    alone = torch.zeros_like(student)
    alone[3] = 1e4
    change = {
        "constant": torch.full_like(student, 3.3),
        "zero": torch.zeros_like(student),
        "large": 1e4 * student,
        "one stands out": alone,
        "far away": student + 1e4,
    }[how]
    for own, other in ((change, teacher), (student, change), (change, change)):
        check_finite(loss, own, other)


def test_cka_of_a_side_that_is_the_same_for_all_is_1() -> None:
    assert check_finite(cka, torch.full((6, 3), 3.3), drawn(6, 4).float()) == 1


def test_pkt_s_probabilities_of_the_paper_leave_the_example_out() -> None:
    student, teacher = drawn(2, 5), drawn(2, 5, seed=1)  # with two examples the other one has all
    assert float(pkt(student, teacher, form="paper")) == pytest.approx(0, abs=1e-12)
    assert float(pkt(student, teacher)) > 1e-6
    assert float(pkt(student[:1], teacher[:1], form="paper")) == 0


def test_cc_goes_by_neighbours_and_its_kernel_by_none() -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    student, teacher = drawn(5, 6), drawn(5, 9, seed=1)
    for form, same in (("neighbours", False), ("gaussian", True)):
        torch.manual_seed(0)
        loss = CC(student.shape, teacher.shape, dim=8, form=form).double()  # type: ignore[arg-type]
        first, second = (float(loss(student[o], teacher[o]).detach()) for o in (torch.arange(5), order))
        assert (first == pytest.approx(second)) == same
    assert float(CC((1, 6), (1, 9)).double()(student[:1], teacher[:1]).detach()) == 0


def test_cc_s_series_becomes_the_gaussian_kernel() -> None:
    torch.manual_seed(0)
    student, teacher = drawn(5, 6), drawn(5, 9, seed=1)
    loss = CC(student.shape, teacher.shape, dim=8, form="gaussian", gamma=0.7, order=30).double()
    units = [
        torch.nn.functional.normalize(embed(side), dim=1)
        for embed, side in ((loss.embed_student, student), (loss.embed_teacher, teacher))
    ]
    own, other = ((-0.7 * torch.cdist(unit, unit).square()).exp() for unit in units)
    assert float(loss(student, teacher).detach()) == pytest.approx(float((own - other).square().mean().detach()))


def test_ickd_has_parameters_only_where_channels_differ() -> None:
    assert list(ICKD((2, 3, 8, 8), (2, 3, 4, 4)).parameters()) == []
    assert {name for name, _ in ICKD((2, 3, 8, 8), (2, 5, 4, 4)).named_parameters()} == {
        "embed.0.weight",
        "embed.1.weight",
        "embed.1.bias",
    }
    student, teacher = drawn(2, 3, 4, 4), drawn(2, 3, 8, 8, seed=1)
    same = ICKD(student.shape, teacher.shape)
    assert float(same(3 * student, teacher)) == pytest.approx(float(same(student, 2 * teacher)))
    with pytest.raises(ShapeError, match="ickd was made for 3 channels"):
        same(student, drawn(2, 5, 4, 4))


def test_itrd_s_correlation_is_least_where_features_go_together() -> None:
    torch.manual_seed(0)
    teacher = drawn(16, 6)
    loss = ITRD(teacher.shape, teacher.shape, mutual=0.0, correlation=1.0).double()
    assert loss.embed is not None
    with torch.no_grad():
        loss.embed.weight.copy_(torch.eye(6))
        loss.embed.bias.fill_(2.0)
    least = math.log2(6) - 2 * 1.01 * math.log2(16)
    assert float(loss(3 * teacher, teacher).detach()) == pytest.approx(least)
    assert float(loss(teacher + 0.1 * drawn(16, 6, seed=1), teacher).detach()) > least
    assert ITRD((2, 6), (2, 6), correlation=0.0).embed is None


def test_cirkd_is_of_every_pair_of_images() -> None:
    student, teacher = drawn(3, 4, 2, 2), drawn(3, 6, 2, 2, seed=1)
    pairs = []
    for i in range(3):
        for j in range(3):
            rows = []
            for side in (student, teacher):
                one, two = (torch.nn.functional.normalize(side[k].flatten(1), dim=0) for k in (i, j))
                rows.append((one.T @ two / 0.1).log_softmax(1))
            pairs.append((rows[1].exp() * (rows[1] - rows[0])).sum(1).mean())
    assert float(cirkd(student, teacher)) == pytest.approx(float(torch.stack(pairs).mean()))


def test_sinkd_carries_each_example_to_its_own_as_epsilon_falls() -> None:
    student, teacher = 4 * drawn(6, 5), 4 * drawn(6, 5, seed=1)
    own, other = ((side / 2).softmax(1) for side in (student, teacher))
    assert float(sinkd(student, student, epsilon=0.005)) == pytest.approx(0, abs=1e-6)
    assert float(sinkd(student, student)) > 1e-4
    # Every plan costs at least the best assignment, and the identity is one.
    assert float(sinkd(student, teacher, epsilon=0.001, iterations=500)) <= float((own - other).abs().sum()) + 1e-6
    assert float(sinkd(student[:1], teacher[:1])) == pytest.approx(float((own - other)[0].abs().sum()))
    check_finite(lambda s, t: sinkd(s, t, epsilon=1e-4), student.float(), teacher.float())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pkt(drawn(2, 3), drawn(2, 3), form="sum"), "pkt: form must be 'mean' or 'paper'; got 'sum'"),  # type: ignore[arg-type]
        (lambda: CC((2, 3), (2, 3), dim=0), "cc: dim and order must be >= 1, gamma > 0"),
        (lambda: CC((2,), (2, 3)), r"cc needs \(N, ...\) on both sides; student gives \(2,\), teacher \(2, 3\)"),
        (lambda: ICKD((2, 3), (2, 3)), r"ickd needs maps \(N, C, H, W\) on both sides"),
        (lambda: ITRD((2, 3), (2, 3), alpha=0.0), "itrd: correlation and mutual must be >= 0"),
        (lambda: ITRD((2, 3), (2, 3), correlation=0.0, mutual=0.0), "not both 0"),
        (lambda: ITRD((2, 0), (2, 3)), r"itrd needs \(N, ...\) on both sides"),
        (lambda: cirkd(drawn(2, 3, 2, 2), drawn(2, 3, 2, 2), pool=0), "cirkd: temperature must be > 0, pool >= 1"),
        (lambda: sinkd(drawn(2, 3), drawn(2, 3), epsilon=0.0), "sinkd: temperature and epsilon must be > 0"),
        (lambda: sinkd(drawn(2, 3, 4), drawn(2, 3, 4)), r"sinkd needs logits \(N, C\); got \(2, 3, 4\)"),
    ],
)
def test_what_is_impossible_is_answered(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def angles_of(values: Tensor) -> Tensor:
    """By the definition: every difference, brought to length 1."""
    apart = values.double()[None] - values.double()[:, None]
    return torch.einsum("kid,kjd->kij", *2 * [torch.nn.functional.normalize(apart, dim=2)])


@pytest.mark.parametrize("far", [0.0, 1e3])
def test_rkd_knows_angles_of_examples_that_lie_close_together_and_far_from_0(far: float) -> None:
    student, teacher = (drawn(12, 40).float() + far), (drawn(12, 7, seed=1).float() - far)
    teacher[3], teacher[4] = teacher[5], teacher[6] + 1e-3
    wanted = torch.nn.functional.smooth_l1_loss(angles_of(student), angles_of(teacher))
    assert float(rkd(student, teacher, distance=0, angle=1)) == pytest.approx(float(wanted), rel=1e-6)
    slope, by_hand = (student.clone().requires_grad_() for _ in range(2))
    rkd(slope, teacher, distance=0, angle=1).backward()
    torch.nn.functional.smooth_l1_loss(angles_of(by_hand), angles_of(teacher)).backward()
    assert slope.grad is not None
    torch.testing.assert_close(slope.grad, by_hand.grad, rtol=1e-4, atol=1e-6)


def test_rkd_hands_no_huge_gradient_to_examples_that_are_all_but_equal() -> None:
    student, teacher = torch.zeros(3, 4), drawn(3, 4, seed=1).float()
    student[1, 0], student[2] = 1e-18, 1.0
    student.requires_grad_()
    rkd(student, teacher, distance=0, angle=1).backward()
    assert student.grad is not None
    assert float(student.grad.abs().max()) < 10


def test_rkd_makes_no_directions_of_all_features() -> None:
    student, teacher = drawn(8, 3000).requires_grad_(), drawn(8, 3000, seed=1)
    with LargestTensor() as largest:
        rkd(student, teacher).backward()
    assert largest.elements == 8 * 3000


class LargestTensor(TorchDispatchMode):
    """How many elements the largest tensor has that an operation gives."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        if isinstance(given, Tensor):
            self.elements = max(self.elements, given.numel())
        return given


@pytest.mark.parametrize("wrong", [-1, 10])
def test_indices_that_no_example_has_are_told(wrong: int) -> None:
    crd = CRD((2, 4), (2, 4), train_size=10, dim=3, negatives=2)
    with pytest.raises(UsageError, match=r"so indices lie in 0\.\.9; got .* Set train_size"):
        crd(torch.randn(2, 4), torch.randn(2, 4), indices=torch.tensor([3, wrong]))
    crd(torch.randn(2, 4), torch.randn(2, 4), indices=torch.tensor([3, 4]))
    with pytest.raises((IndexError, RuntimeError), match="index out of range"):
        crd(torch.randn(2, 4), torch.randn(2, 4), indices=torch.tensor([3, wrong]))
