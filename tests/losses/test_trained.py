"""Losses that train or remember something, by hand."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F

from layerlink.errors import UsageError
from layerlink.losses import (
    CRD,
    CTKD,
    VID,
    Review,
    ShapeError,
    abkd,
    dist,
    dkd,
    hcl,
    kd,
    mlkd,
    nkd,
    rld,
    standardise,
    topk_kl,
    wsld,
)


def test_vid_is_the_gaussians_likelihood_and_begins_at_its_variance() -> None:
    torch.manual_seed(0)
    loss = VID((2, 3, 4, 4), (2, 5, 4, 4)).double()
    student, teacher = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 5, 4, 4).double()
    first, second, third = (layer.weight[:, :, 0, 0] for layer in loss.mean if hasattr(layer, "weight"))
    mean = torch.einsum(
        "ab,nbhw->nahw",
        third,
        torch.einsum("ab,nbhw->nahw", second, torch.einsum("ab,nbhw->nahw", first, student).relu()).relu(),
    )
    expected = ((mean - teacher) ** 2 / 5 + math.log(5)).mean() / 2
    assert float(loss(student, teacher).detach()) == pytest.approx(float(expected.detach()), rel=1e-6)


def test_vid_learns_what_is_left_of_noise() -> None:
    torch.manual_seed(0)
    loss, weight = VID((2, 3), (2, 16)), torch.randn(3, 16)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.02)
    assert {name for name, _ in loss.named_parameters()} == {"scale", *(f"mean.{k}.weight" for k in (0, 2, 4))}
    for _ in range(600):
        student = torch.randn(256, 3)
        teacher = (student @ weight).relu() + 0.3 * torch.randn(256, 16)
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
    assert float(F.softplus(loss.scale.detach()).mean()) == pytest.approx(0.3**2, rel=0.3)


def crd(**options: int | float) -> CRD:
    torch.manual_seed(1)
    return CRD((2, 6), (2, 9), train_size=20, dim=4, negatives=8, **options).double()  # type: ignore[arg-type]


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    own, other = (torch.randn(3, width, generator=generator).double() for width in (6, 9))
    return own, other, torch.tensor([4, 0, 17])


def test_crd_is_its_equation_by_loops() -> None:
    loss = crd()
    own, other, indices = batch(0)
    drawn = loss._draw(indices)
    assert drawn[:, 0].tolist() == indices.tolist()
    assert not (drawn[:, 1:] == indices[:, None]).any()
    expected = 0.0
    sides = ((loss.embed_student(own), loss.memory_teacher), (loss.embed_teacher(other), loss.memory_student))
    for embedded, memory in sides:
        v = embedded.detach() / embedded.detach().norm(dim=1, keepdim=True)
        scores = torch.tensor([[math.exp(float(v[n] @ memory[k]) / 0.07) for k in drawn[n]] for n in range(3)])
        p = scores / (scores.mean() * 20)
        for row in p.tolist():
            expected -= math.log(row[0] / (row[0] + 8 / 20 + 1e-7)) / 3
            expected -= sum(math.log((8 / 20) / (q + 8 / 20 + 1e-7)) for q in row[1:]) / 3
    before = loss.memory_student.clone()
    assert float(loss(own, other, indices=indices).detach()) == pytest.approx(expected, rel=1e-5)
    v = F.normalize(loss.embed_student(own).detach(), dim=1)
    moved = F.normalize(0.5 * before[indices] + 0.5 * v, dim=1)
    assert torch.allclose(loss.memory_student[indices], moved)
    others = [k for k in range(20) if k not in indices.tolist()]
    assert torch.equal(loss.memory_student[others], before[others])


def test_crd_goes_on_to_the_bit_from_its_state() -> None:
    loss = crd()
    loss(*batch(0)[:2], indices=batch(0)[2])
    again = crd()
    again.load_state_dict(deepcopy(loss.state_dict()))
    torch.manual_seed(99)  # nothing else may matter
    for seed in (1, 2):
        own, other, indices = batch(seed)
        assert torch.equal(loss(own, other, indices=indices), again(own, other, indices=indices))
    assert int(loss.steps) == 3


def test_crd_remembers_nothing_while_it_is_only_looked_at() -> None:
    loss = crd()
    own, other, indices = batch(0)
    with torch.no_grad():
        loss(own, other, indices=indices)
    assert int(loss.steps) == 0
    loss.eval()(own, other, indices=indices)
    assert int(loss.steps) == 0
    with pytest.raises(UsageError, match="train_size must be >= 2"):
        CRD((2, 6), (2, 9), train_size=1)


def test_review_of_one_layer_is_two_convolutions_and_hcl() -> None:
    torch.manual_seed(0)
    loss = Review([(2, 3, 8, 8)], [(2, 5, 4, 4)]).double()
    student, teacher = torch.randn(2, 3, 8, 8).double(), torch.randn(2, 5, 4, 4).double()
    fusion = loss.fusions[0]
    values = fusion.enter(student)
    seen = fusion.leave(values[:, :, ::2, ::2])  # nearest
    assert torch.allclose(loss((student,), (teacher,)), hcl(seen, teacher))


def test_review_hands_the_deeper_layer_on() -> None:
    torch.manual_seed(0)
    loss = Review([(2, 3, 8, 8), (2, 4, 4, 4)], [(2, 5, 8, 8), (2, 6, 4, 4)])
    shallow, deep = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 4, 4, requires_grad=True)
    teacher = (torch.randn(2, 5, 8, 8), torch.randn(2, 6, 4, 4))
    alone = deepcopy(loss)
    seen = alone.fusions[1].leave(alone.fusions[1].enter(deep))
    first = loss((shallow, deep), teacher) - hcl(seen, teacher[1])
    (gradient,) = torch.autograd.grad(first, deep)
    assert float(gradient.abs().sum()) > 0.1, "the first layer's term learns through the deeper one"
    assert sum(parameter.numel() for parameter in loss.fusions[0].attention.parameters()) == 2 * 8 + 2


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


def test_standardised_logits_forget_their_range() -> None:
    student, teacher = torch.randn(5, 7).double(), torch.randn(5, 7).double()
    for loss in (kd, dist):
        one = loss(student, teacher, standardise=True)
        assert float(loss(3 * student + 2, 0.5 * teacher - 4, standardise=True)) == pytest.approx(float(one), rel=1e-5)
        assert float(loss(3 * student, teacher)) != pytest.approx(float(loss(student, teacher)), rel=1e-3)
    labels = torch.arange(5)
    for labelled in (dkd, nkd, wsld, rld):
        moved = labelled(3 * student + 2, 0.5 * teacher, labels=labels, standardise=True)  # type: ignore[operator]
        still = labelled(standardise(student), standardise(teacher), labels=labels)  # type: ignore[operator]
        if labelled is not wsld:  # whose weight is of the logits as they are
            assert float(moved) == pytest.approx(float(still), rel=1e-5)
    tokens = torch.randn(2, 3, 7).double()
    assert float(standardise(tokens, axis=2).std(2).mean()) == pytest.approx(1, rel=1e-6)


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
