"""Losses of outputs: what their options and limits do, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from layerlink.errors import UsageError
from layerlink.losses import (
    CTKD,
    ShapeError,
    abkd,
    kd,
    mlkd,
    rld,
    standardise,
    topk_kl,
    ttm,
    wttm,
)
from loss_cases import CASES, LossCase


def test_the_temperature_of_ctkd_climbs_what_the_student_goes_down() -> None:
    """Against the sign, times a factor that rises along half a cosine; the student's gradient is that of kd."""
    student, teacher = torch.randn(4, 5).double().requires_grad_(), torch.randn(4, 5).double()
    plain, loss = torch.ones((), dtype=torch.float64, requires_grad=True), CTKD((4, 5), (4, 5), rise=0.2).double()
    value = kd(student / (1 + 20 * plain.sigmoid()), teacher / (1 + 20 * plain.sigmoid()), temperature=1.0)
    value = value * (1 + 20 * plain.sigmoid()) ** 2
    own, expected = torch.autograd.grad(value, (student, plain))
    for progress, factor in (
        (0.0, 0.0),
        (0.05, 0.5 - 0.5 * math.cos(math.pi / 4)),
        (0.2, 1.0),
        (0.9, 1.0),
        (None, 1.0),
    ):
        found = loss(student, teacher, progress=progress)
        assert float(found.detach()) == pytest.approx(float(value.detach()))
        gradients = torch.autograd.grad(found, (student, loss.height))
        torch.testing.assert_close(gradients[0], own)
        assert float(gradients[1]) == pytest.approx(-factor * float(expected))


def test_views_of_an_image_are_compared_each_with_its_own() -> None:
    weak, strong = (torch.randn(2, 6, 4).double() for _ in range(2))
    both = mlkd(torch.cat([weak[0], strong[0]]), torch.cat([weak[1], strong[1]]), views=2)
    assert float(both) == pytest.approx(float(mlkd(*weak)) + float(mlkd(*strong)))
    with pytest.raises(ShapeError, match="2 views"):
        mlkd(weak[0][:5], weak[1][:5], views=2)


STANDARDISED = {
    case.name: case for case in reversed(CASES) if "standardise" in case.kind.options().keys() - case.options.keys()
}
OWN_LABELS = ("wsld", "wkd")  # part of which is of the logits as they are


def test_all_losses_of_softened_classes_can_standardise() -> None:
    names = "abkd ctkd dist dkd kd mlkd nkd ofa rld sinkd topk_kl ttm wkd wsld wttm"
    assert STANDARDISED.keys() == set(names.split())


@pytest.mark.parametrize("case", STANDARDISED.values(), ids=str)
def test_standardised_logits_forget_their_range(case: LossCase) -> None:
    student, teacher = torch.randn(2, 5, *case.student[0]).double()
    context = case.context(5)

    def value(own: torch.Tensor, other: torch.Tensor, *, standardised: bool) -> float:
        built = replace(case, options={**case.options, "standardise": standardised}).build()
        return float(built(own, other, **context).detach())

    found = value(student, teacher, standardised=True)
    if case.name not in OWN_LABELS:
        plain = value(
            *(standardise(side, axis=2 if side.ndim == 3 else 1) for side in (student, teacher)), standardised=False
        )
        assert found == pytest.approx(plain, rel=1e-5)
        assert found == pytest.approx(value(3 * student + 2, 0.5 * teacher - 4, standardised=True), rel=1e-5)
    raw = value(student, teacher, standardised=False)
    assert value(3 * student, teacher, standardised=False) != pytest.approx(raw, rel=1e-3)
    assert found != pytest.approx(raw, rel=1e-4)


def test_tokens_are_standardised_over_their_classes() -> None:
    tokens = torch.randn(2, 3, 7).double()
    assert float(standardise(tokens, axis=2).std(2).mean()) == pytest.approx(1, rel=1e-6)
    for loss in (kd, abkd, ttm, wttm, topk_kl):
        flat = loss(tokens.flatten(0, 1), 2 * tokens.flip(2).flatten(0, 1), standardise=True)  # type: ignore[operator]
        assert float(loss(tokens, 2 * tokens.flip(2), standardise=True)) == pytest.approx(float(flat))  # type: ignore[operator]


def test_divergences_meet_at_their_ends() -> None:
    student, teacher = torch.randn(5, 7).double(), torch.randn(5, 7).double()
    forward, reverse = (float(kd(student, teacher, form=form, temperature=1.0)) for form in ("kl", "reverse"))
    assert float(abkd(student, teacher, alpha=1.0, beta=1e-7, temperature=1.0)) == pytest.approx(forward, rel=1e-5)
    assert float(abkd(student, teacher, alpha=1e-7, beta=1.0, temperature=1.0)) == pytest.approx(reverse, rel=1e-5)
    assert float(kd(teacher, student, temperature=1.0)) == pytest.approx(reverse)
    assert float(kd(student, teacher, form="skew", mix=1e-9, temperature=1.0)) == pytest.approx(forward, rel=1e-6)
    assert float(topk_kl(student, teacher, k=3)) < forward
    assert float(topk_kl(student, teacher, k=7)) == pytest.approx(forward)
    for wrong in ({"form": "sideways"}, {"mix": 0.5}, {"form": "js", "mix": 1.0}):
        with pytest.raises(UsageError, match=r"kd: (form|mix) must"):
            kd(student, teacher, **wrong)  # type: ignore[arg-type]


def test_rld_leaves_out_what_the_teacher_puts_before_the_label() -> None:
    teacher = torch.tensor([[5.0, 4.0, 1.0, 0.0]], dtype=torch.float64)
    student = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    rld(student, teacher, labels=torch.tensor([1]), alpha=0.0).backward()
    assert student.grad is not None
    assert student.grad[0, :2].tolist() == [0, 0]
    assert student.grad[0, 2] < 0 < student.grad[0, 3]
    assert float(rld(student, teacher, labels=torch.tensor([3]), alpha=0.0).detach()) == 0  # nothing is below it
