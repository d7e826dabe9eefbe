"""Losses that train or remember something, by hand."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.losses import CRD, VID, FactorTransfer, Review, hcl
from layerlink.losses.relations.memory import WHOLE, negatives_of
from layerlink.transfer import Distiller


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
    options = {"negatives": 8, **options}
    return CRD((2, 6), (2, 9), train_size=20, dim=4, **options).double()  # type: ignore[arg-type]


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    own, other = (torch.randn(3, width, generator=generator).double() for width in (6, 9))
    return own, other, torch.tensor([4, 0, 17])


@pytest.mark.parametrize("negatives", [8, 2])  # with all of the memory, and with the drawn alone
def test_crd_is_its_equation_by_loops(negatives: int) -> None:
    loss = crd(negatives=negatives)
    assert (loss.train_size <= WHOLE * negatives) is (negatives == 8)
    own, other, indices = batch(0)
    others = negatives_of(indices, loss.train_size, loss.negatives, int(loss.seed) * 1_000_003 + int(loss.steps))
    assert not (others == indices[:, None]).any()
    drawn, noise = torch.cat([indices[:, None], others], 1), negatives / 20
    expected = 0.0
    sides = ((loss.embed_student(own), loss.memory_teacher), (loss.embed_teacher(other), loss.memory_student))
    for embedded, memory in sides:
        v = embedded.detach() / embedded.detach().norm(dim=1, keepdim=True)
        scores = torch.tensor([[math.exp(float(v[n] @ memory[k]) / 0.07) for k in drawn[n]] for n in range(3)])
        p = scores / (scores.mean() * 20)
        for row in p.tolist():
            expected -= math.log(row[0] / (row[0] + noise + 1e-7)) / 3
            expected -= sum(math.log(noise / (q + noise + 1e-7)) for q in row[1:]) / 3
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
    with pytest.raises(UsageError, match="train_size >= 2"):
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


class Layers(nn.Module):
    """Hidden states and scores of attention, a map and a vector; as wide as asked."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words, self.map, self.vector = nn.Linear(4, width), nn.Conv2d(1, width, 3), nn.Linear(4, width)
        self.queries, self.scores = nn.Linear(width, 6), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        states = self.words(x)
        queries = self.queries(states)
        scores = self.scores((queries @ queries.transpose(1, 2))[:, None])
        pooled = self.map(x[:, None]).mean((1, 2, 3))
        out: Tensor = self.vector(x.mean(1)).sum(1) + scores.mean((1, 2, 3)) + pooled
        return out[:, None].expand(-1, 2)


@pytest.mark.parametrize(
    "link",
    [
        "vector : cc(dim=4)",
        "vector : cc(dim=4, form=gaussian)",
        "vector : itrd",
        "map : ickd",
        "words + scores : tinybert",
    ],
)
def test_what_a_loss_trains_is_the_distillers_and_no_part_of_the_student(link: str) -> None:
    torch.manual_seed(0)
    teacher, student = Layers(5), Layers(3)
    x = torch.randn(6, 5, 4)
    names = set(student.state_dict())
    distiller = Distiller(teacher, student, hard=0, links=[link], example=x[:2])
    own = list(distiller.link_parameters())
    assert own
    before = [parameter.detach().clone() for parameter in own]
    distiller(x).total.backward()
    assert all(parameter.grad is not None and bool(parameter.grad.isfinite().all()) for parameter in own)
    assert sum(float(parameter.grad.abs().sum()) for parameter in own if parameter.grad is not None) > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert {id(it) for it in own} <= {id(it) for it in distiller.trainable_parameters()}
    torch.optim.SGD(own, lr=0.1).step()
    assert any(not torch.equal(a, b) for a, b in zip(before, own, strict=True))
    assert set(student.state_dict()) == names
    saved = {name for name in distiller.state_dict() if name.startswith("parts.0.loss.")}
    assert len(saved) >= len(own)


def test_factors_are_learned_before_the_student_is_and_stay_after_it() -> None:
    torch.manual_seed(0)
    loss = FactorTransfer((2, 3, 4, 4), (2, 6, 4, 4), first=0.25)
    teacher = torch.randn(64, 2, 4, 4).repeat(1, 3, 1, 1)  # two channels, three times
    student = torch.randn(64, 3, 4, 4, requires_grad=True)
    optimizer = torch.optim.AdamW(loss.parameters(), lr=0.02, weight_decay=0.01)
    before = float(loss(student, teacher, progress=0.0).detach())
    translator = {name: value.clone() for name, value in loss.translator.state_dict().items()}
    for _ in range(40):
        optimizer.zero_grad()
        loss(student, teacher, progress=0.1).backward()
        optimizer.step()
    assert student.grad is None
    assert float(loss(student, teacher, progress=0.1).detach()) < 0.7 * before
    assert all(torch.equal(value, translator[name]) for name, value in loss.translator.state_dict().items())
    learned = {name: value.clone() for name, value in loss.paraphraser.state_dict().items()}
    for _ in range(2):
        optimizer.zero_grad()
        loss(student, teacher, progress=0.25).backward()
        optimizer.step()
    assert student.grad is not None
    assert all(torch.equal(value, learned[name]) for name, value in loss.paraphraser.state_dict().items())
    assert not any(torch.equal(value, translator[name]) for name, value in loss.translator.state_dict().items())


def test_factors_are_learned_along_where_nobody_tells_how_far_the_training_is() -> None:
    torch.manual_seed(0)
    loss = FactorTransfer((2, 3, 4, 4), (2, 6, 4, 4)).double()
    student, teacher = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 6, 4, 4).double()
    parts = [float(loss(student, teacher, progress=progress).detach()) for progress in (0.0, 0.5)]
    whole = loss(student, teacher)
    assert float(whole.detach()) == pytest.approx(sum(parts))
    whole.backward()
    assert all(parameter.grad is not None for parameter in loss.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, "rate must lie in 0 < rate <= 1"),
        ({"first": 1.5}, "first in 0..1"),
        ({"form": "both"}, "form 'attention' or 'factor'"),
    ],
)
def test_factor_refuses_what_it_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FactorTransfer((2, 3, 4, 4), (2, 6, 4, 4), **options)  # type: ignore[arg-type]
