"""Losses against three independent routes: published implementations' values, hand derivations, gradcheck."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from layerlink.losses import ShapeError, hard_cross_entropy, mse, soft_cross_entropy
from layerlink.losses.maps.squared_error import _dense


def reference_cases(shared: Path, name: str) -> list[dict[str, Any]]:
    cases = json.loads((shared / "reference" / "loss_values.json").read_text())
    cases = cases["cases"] if isinstance(cases, dict) else cases
    return [case for case in cases if case["name"] == name]


def drawn(case: dict[str, Any]) -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng(case["seed"])
    pair = []
    for side in ("s", "t"):
        value = generator.standard_normal(case[f"shape_{side}"]) * case.get("scale", 1.0)
        pair.append(torch.tensor(np.maximum(value, 0) if case.get("relu") else value, dtype=torch.float64))
    return pair[0].requires_grad_(), pair[1]


def check_reference(loss: Any, case: dict[str, Any]) -> None:
    student, teacher = drawn(case)
    value = loss(student, teacher)
    assert float(value.detach()) == pytest.approx(case["value"], rel=1e-9)
    (gradient,) = torch.autograd.grad(value, student)
    assert float(gradient.norm()) == pytest.approx(case["grad_norm"], rel=1e-9)
    assert gradient.flatten()[:5].tolist() == pytest.approx(case["grad_head"], rel=1e-8, abs=1e-14)


def test_mse_gives_the_published_values(shared: Path) -> None:
    cases = reference_cases(shared, "mse")
    assert cases
    for case in cases:
        check_reference(mse, case)


def test_soft_gives_the_published_values(shared: Path) -> None:
    cases = reference_cases(shared, "kd")
    assert cases
    for case in cases:
        temperature = case["params"]["temperature"]
        check_reference(partial(soft_cross_entropy, temperature=temperature), case)


def test_the_reference_check_fails_on_a_wrong_loss(shared: Path) -> None:
    case = reference_cases(shared, "mse")[0]
    with pytest.raises(AssertionError):
        check_reference(lambda s, t: 1.000001 * mse(s, t), case)


def test_mse_by_hand() -> None:
    assert float(mse(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]]))) == 2.5


def layouts() -> list[Tensor]:
    """(6, 40, 30, 24), over the piece that is done at a time on the CPU, in layouts that activations come in."""
    x = torch.randn(6, 40, 30, 24, generator=torch.Generator().manual_seed(3)).bfloat16()
    strided = torch.zeros(6, 40, 30, 48, dtype=torch.bfloat16)[..., ::2].copy_(x)
    return [x, x.contiguous(memory_format=torch.channels_last), strided]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("student_layout", range(3))
@pytest.mark.parametrize("teacher_layout", range(3))
def test_mse_of_16_bits_in_any_layout(student_layout: int, teacher_layout: int, dtype: torch.dtype) -> None:
    student = layouts()[student_layout].to(dtype).requires_grad_()
    teacher = (1.5 * layouts()[teacher_layout].flip(0)).to(dtype)
    exact = student.detach().double() - teacher.double()
    value = mse(student, teacher)
    assert value.dtype == torch.float32
    # With one thread, the sum over a piece is off by 4e-6.
    assert float(value.detach()) == pytest.approx(float(exact.square().mean()), rel=1e-5)
    (3 * value).backward()
    assert student.grad is not None
    assert student.grad.dtype == dtype
    expected = 3 * 2 * exact / exact.numel()
    # float16 has nothing below 6e-8: such small gradients need a scaled loss, as ever.
    torch.testing.assert_close(student.grad.double(), expected, rtol=1e-2, atol=6e-8 if dtype == torch.float16 else 0)
    with torch.no_grad():
        assert float(mse(student, teacher)) == float(value.detach())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_mse_teaches_the_student_alone_where_both_could_learn(dtype: torch.dtype) -> None:
    one, other = (torch.tensor(values, dtype=dtype, requires_grad=True) for values in ([1.0, 4.0], [0.0, 2.0]))
    mse(one, other).backward()
    assert (one.grad.tolist(), other.grad) == ([1.0, 2.0], None)  # type: ignore[union-attr]


def test_mse_of_16_bits_beside_64_keeps_the_digits_of_64() -> None:
    few, many = torch.tensor([1.0, 3.0], dtype=torch.bfloat16), torch.tensor([1.1, 2.0], dtype=torch.float64)
    for value in (mse(few, many), mse(many, few)):
        assert value.dtype == torch.float64
        assert float(value) == pytest.approx(((1.1 - 1) ** 2 + 1) / 2, rel=1e-14)


def test_mse_of_bfloat16_beside_float16_keeps_the_digits_of_float16() -> None:
    teacher = torch.tensor([[1.0, 7], [1 + 2**-10, 7]], dtype=torch.float16)[:, 0]
    value = mse(torch.tensor([1.0, 1.0], dtype=torch.bfloat16), teacher)
    assert float(value) == 2**-20 / 2


def test_mse_of_16_bits_does_not_depend_on_what_torch_makes_by_default() -> None:
    student, teacher = (torch.randn(100).bfloat16() for _ in range(2))
    expected = float((student.double() - teacher.double()).square().mean())
    usual = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)
        with torch.device("meta"):
            value = mse(student, teacher)
    finally:
        torch.set_default_dtype(usual)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_16_bit_activations_go_through_in_one_pass_and_lie_as_they_lay() -> None:
    x = torch.randn(2, 3, 4, 5).bfloat16().requires_grad_()
    value = mse(x, x.detach())
    assert type(value.grad_fn).__name__ == "MeanSquaredErrorBackward"
    last = x.detach().contiguous(memory_format=torch.channels_last)
    assert _dense(x)
    assert _dense(last)
    assert not _dense(x[..., ::2])
    assert not _dense(last[:, 0])


def test_mse_never_broadcasts() -> None:
    with pytest.raises(ShapeError, match=r"mse needs equal shapes; student gives \(2, 3\), teacher \(1, 3\)"):
        mse(torch.zeros(2, 3), torch.zeros(1, 3))


def test_mse_of_bfloat16_is_summed_in_float32() -> None:
    student = torch.full((4096,), 1.0, dtype=torch.bfloat16)
    teacher = torch.zeros(4096, dtype=torch.bfloat16)
    teacher[0] = 0.5
    value = mse(student, teacher)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx((4095 + 0.25) / 4096, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 4.0, 40.0])
@pytest.mark.parametrize("t_squared", [True, False])
def test_soft_by_the_definition_in_plain_numbers(temperature: float, t_squared: bool) -> None:
    student, teacher = torch.randn(5, 7, dtype=torch.float64), torch.randn(5, 7, dtype=torch.float64)

    def softened(row: Tensor) -> list[float]:
        powers = [math.exp(float(z) / temperature) for z in row]
        return [power / sum(powers) for power in powers]

    total = sum(
        p * math.log(p / q)
        for s, t in zip(student, teacher, strict=True)
        for q, p in zip(softened(s), softened(t), strict=True)
    )
    expected = total / 5 * (temperature**2 if t_squared else 1)
    assert float(soft_cross_entropy(student, teacher, temperature=temperature, t_squared=t_squared)) == pytest.approx(
        expected, rel=1e-9
    )


def test_cross_entropy_form_has_the_same_gradient_and_adds_the_entropy() -> None:
    student, teacher = (
        torch.randn(5, 7, dtype=torch.float64, requires_grad=True),
        torch.randn(5, 7, dtype=torch.float64),
    )
    kl = soft_cross_entropy(student, teacher, temperature=2.0)
    cross = soft_cross_entropy(student, teacher, temperature=2.0, entropy=False)
    p = (teacher / 2).softmax(dim=1)
    assert float(cross.detach() - kl.detach()) == pytest.approx(4 * float(-(p * p.log()).sum(dim=1).mean()), rel=1e-9)
    first, second = torch.autograd.grad(kl, student)[0], torch.autograd.grad(cross, student)[0]
    assert torch.allclose(first, second, rtol=1e-12, atol=1e-15)


def test_soft_gradient_does_not_shrink_with_temperature() -> None:
    student, teacher = (
        torch.randn(8, 10, dtype=torch.float64, requires_grad=True),
        torch.randn(8, 10, dtype=torch.float64),
    )
    # Hinton et al. 2015, eq. 4: for high T the gradient tends to (z_s - z_t, centred) / (N_classes * batch).
    (gradient,) = torch.autograd.grad(soft_cross_entropy(student, teacher, temperature=1e6), student)
    difference = (student - teacher).detach()
    expected = (difference - difference.mean(dim=1, keepdim=True)) / (10 * 8)
    assert torch.allclose(gradient, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("scale", [1e3, 1e4, 1e30])
def test_soft_is_finite_at_extreme_logits(scale: float) -> None:
    student = torch.tensor([[scale, -scale, 0.0]], requires_grad=True)
    teacher = torch.tensor([[-scale, scale, 0.0]])
    value = soft_cross_entropy(student, teacher, temperature=1.0)
    value.backward()
    assert bool(value.isfinite())
    assert student.grad is not None
    assert bool(student.grad.isfinite().all())
    assert float(value.detach()) == pytest.approx(2 * scale, rel=1e-6)


def test_soft_ignores_a_shift_of_either_model() -> None:
    student, teacher = torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 6, dtype=torch.float64)
    plain = soft_cross_entropy(student, teacher, temperature=3.0)
    assert float(soft_cross_entropy(student + 7, teacher - 3, temperature=3.0)) == pytest.approx(float(plain), rel=1e-9)


def test_soft_refuses_unequal_class_counts() -> None:
    with pytest.raises(ShapeError, match=r"soft loss needs equal shapes; student gives \(2, 10\), teacher \(2, 100\)"):
        soft_cross_entropy(torch.zeros(2, 10), torch.zeros(2, 100), temperature=1.0)


def test_hard_by_hand_with_and_without_smoothing() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0]], dtype=torch.float64)
    log_p = [z - math.log(math.exp(2) + 1 + math.exp(-1)) for z in (2.0, 0.0, -1.0)]
    assert float(hard_cross_entropy(logits, torch.tensor([1]))) == pytest.approx(-log_p[1])
    smoothed = -(0.9 * log_p[1] + 0.1 / 3 * sum(log_p))
    assert float(hard_cross_entropy(logits, torch.tensor([1]), label_smoothing=0.1)) == pytest.approx(smoothed)


def test_hard_names_labels_out_of_range() -> None:
    with pytest.raises(ShapeError, match=r"labels must lie in 0\.\.2, the student's 3 classes; got 0\.\.7"):
        hard_cross_entropy(torch.zeros(2, 3), torch.tensor([0, 7]))


@pytest.mark.parametrize("label", [-100, -1, 3])
def test_no_label_is_left_out_without_a_word(label: int) -> None:
    with pytest.raises(ShapeError, match="labels must lie in"):
        hard_cross_entropy(torch.zeros(2, 3), torch.tensor([0, label]))


def test_every_label_below_0_is_told() -> None:
    for label in range(-300, 0):
        with pytest.raises(ShapeError, match=f"got {label}..0"):
            hard_cross_entropy(torch.zeros(2, 3), torch.tensor([0, label]))


def test_labels_of_another_dtype_are_named() -> None:
    with pytest.raises(ShapeError, match=r"needs int64 labels; got torch.int32"):
        hard_cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1], dtype=torch.int32))
    with pytest.raises(ShapeError, match=r"hard loss needs labels or real probabilities; got torch.complex64"):
        hard_cross_entropy(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.complex64))


def test_hard_takes_probabilities_too() -> None:
    logits = torch.randn(4, 3)
    labels = torch.tensor([0, 1, 2, 1])
    one_hot = torch.eye(3)[labels]
    expected = float(hard_cross_entropy(logits, labels))
    assert float(hard_cross_entropy(logits, one_hot)) == pytest.approx(expected)
    assert float(hard_cross_entropy(logits, one_hot.long())) == pytest.approx(expected)


def test_losses_name_shapes_that_do_not_fit() -> None:
    with pytest.raises(ShapeError) as caught:
        hard_cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1, 2]))
    assert str(caught.value) == (
        "hard loss needs logits (N, C) and labels (N,) or probabilities (N, C), or the same at every position of "
        "tokens (N, L, C) or maps (N, C, H, W); got logits (2, 3), labels (3,)"
    )
    with pytest.raises(ShapeError, match=r"^soft loss needs logits \(N, C\); got \(2, 3, 4\)$"):
        soft_cross_entropy(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), temperature=1.0)
