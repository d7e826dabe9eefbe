"""Losses of one's own in a link: by path, as a function, as a module, as a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import ProblemsError, UsageError
from layerlink.losses import Facts, loss
from layerlink.taps import Activations, Tap
from layerlink.transfer import Distiller, Link


def small(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def huber(student: Tensor, teacher: Tensor, *, labels: Tensor, delta: float = 1.0) -> Tensor:
    return F.huber_loss(student, teacher, delta=delta) * (labels >= 0).float().mean()


class Learnt(nn.Module):
    """Knows how many examples and classes there are, and remembers what it saw."""

    def __init__(self, student: torch.Size, teacher: torch.Size, *, num_classes: int, bias: bool = True) -> None:
        super().__init__()
        self.map = nn.Linear(student[1], teacher[1], bias=bias)
        self.register_buffer("seen", torch.zeros(num_classes))

    def forward(self, student: Tensor, teacher: Tensor, *, indices: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.seen += len(indices)
        return (self.map(student) - teacher).abs().mean()


BATCH = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 3


def distilled(*links: Any, **more: Any) -> Distiller:
    return Distiller(small(0), small(1), links=list(links), **more)


def test_a_function_gets_what_it_names_and_its_options() -> None:
    link = Link(Tap("0"), Tap("0"), huber, 3.0, options={"delta": 0.5})
    distiller = distilled(link)
    losses = distiller(*BATCH)
    student, teacher = small(1)[0](BATCH[0]), small(0)[0](BATCH[0])
    assert link.text == "0 : huber(delta=0.5) * 3"
    expected = F.huber_loss(student, teacher, delta=0.5)
    assert float(losses.terms[link.text].detach()) == pytest.approx(float(expected.detach()))
    with pytest.raises(UsageError, match="needs labels: pass them as target"):
        Distiller(small(0), small(1), hard=0, links=[link])(BATCH[0])
    with pytest.raises(UsageError, match=r"unknown option of huber 'dleta'\. Did you mean delta"):
        Link(Tap("0"), Tap("0"), huber, options={"dleta": 1})


def test_a_path_in_a_text_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_losses_of_mine.py").write_text(
        "from torch.nn.functional import huber_loss\n"
        "def huber(student, teacher, *, delta=1.0):\n    return huber_loss(student, teacher, delta=delta)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = "0 : own_losses_of_mine:huber(delta=0.5) * 3"
    found = distilled(text)(*BATCH).terms[text]
    expected = distilled(Link(Tap("0"), Tap("0"), huber, 3.0, options={"delta": 0.5}))(*BATCH)
    assert float(found.detach()) == pytest.approx(float(expected.terms["0 : huber(delta=0.5) * 3"].detach()))
    with pytest.raises(ProblemsError, match=r"unknown option of huber 'dleta'"):
        distilled("0 : own_losses_of_mine:huber(dleta=0.5)")
    with pytest.raises(ProblemsError, match=r"unknown callable 'hubre'\. Did you mean huber"):
        distilled("0 : own_losses_of_mine:hubre")


def test_a_class_is_made_from_shapes_and_facts_and_trained() -> None:
    link = Link(Tap("2"), Tap("0"), Learnt, options={"bias": False})
    distiller = distilled(link, example=BATCH[0][:2], facts=Facts(num_classes=7))
    (weight,) = distiller.link_parameters()
    assert weight.shape == (3, 5)
    distiller(*BATCH, indices=torch.arange(6)).total.backward()
    assert weight.grad is not None
    assert distiller.state_dict()["parts.0.loss.seen"].tolist() == [6.0] * 7
    assert not [name for name in distiller.student.state_dict() if "map" in name]
    with pytest.raises(ProblemsError, match=r"Learnt needs num_classes: pass facts=layerlink.Facts\(num_classes=...\)"):
        distilled(link, example=BATCH[0][:2])
    with pytest.raises(ProblemsError, match="pass example=inputs of two examples"):
        distilled(link)
    with pytest.raises(UsageError, match="needs the examples' indices: pass indices="):
        distiller(*BATCH)


def test_a_module_that_is_made_is_taken_as_it_is() -> None:
    made = Learnt(torch.Size((2, 5)), torch.Size((2, 3)), num_classes=2)
    distiller = distilled(Link(Tap("2"), Tap("0"), made))
    distiller(*BATCH, indices=torch.arange(6)).total.backward()
    assert made.map.weight.grad is not None
    assert {id(parameter) for parameter in made.parameters()} <= {id(p) for p in distiller.trainable_parameters()}


def test_two_taps_a_side_reach_a_loss_that_compares_two() -> None:
    @loss(taps=2, degree=2)
    def both(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
        return sum((a - b).square().mean() for a, b in zip(student, teacher, strict=True))  # type: ignore[return-value]

    pair = (Tap("0"), Tap("2"))
    losses = distilled(Link(pair, pair, both))(*BATCH)
    single = distilled("0 : mse", "2 : mse")(*BATCH)
    assert float(losses.terms["0 + 2 : both"].detach()) == pytest.approx(
        float(single.terms["0 : mse"].detach() + single.terms["2 : mse"].detach())
    )
    with pytest.raises(ProblemsError, match="mse compares one tap a side; got 2 of the teacher and 2 of the student"):
        distilled("0 + 2 : mse")
    with pytest.raises(ProblemsError, match="big/ names one of several teachers, and there is one: leave it out"):
        distilled("big/0 : mse")


def test_adapters_are_made_from_what_any_teacher_gives() -> None:
    teacher, seen = small(0), []

    def give(inputs: Tensor) -> Activations:
        seen.append(len(inputs))
        with torch.no_grad():
            return Activations(None, {Tap("0"): torch.cat([teacher[0](inputs)] * 2, dim=1)})

    distiller = Distiller(give, small(1), links=["0 : mse, adapter=auto"], example=BATCH[0][:2])  # type: ignore[arg-type]
    assert seen == [2]
    assert sum(parameter.numel() for parameter in distiller.link_parameters()) == 5 * 10 + 10
    assert bool(distiller(*BATCH).total.isfinite())


def test_a_link_that_trains_its_adapter_alone_is_told() -> None:
    student = small(1)
    student[0].requires_grad_(False)
    distiller = Distiller(small(0), student, links=["0 : mse, adapter=linear"], example=BATCH[0][:2])
    with pytest.raises(ProblemsError, match="teaches nothing: no gradient reaches the student's layer '0'"):
        distiller(*BATCH)


def test_what_links_train_and_remember_moves_with_the_distiller() -> None:
    links = ["0 : mse, adapter=linear", "2 : crd(dim=4, negatives=8)"]
    distiller = distilled(*links, example=BATCH[0][:2], facts=Facts(train_size=30)).double()
    losses = distiller(BATCH[0].double(), BATCH[1], indices=torch.arange(6))
    assert {value.dtype for value in losses.terms.values()} == {torch.float64}
    moved = {name: value for name, value in distiller.state_dict().items() if name.startswith("parts.")}
    assert {value.dtype for value in moved.values()} == {torch.float64, torch.int64}
    assert distiller.to("meta").parts["1"].loss.memory_student.device.type == "meta"  # type: ignore[union-attr]


def narrow(width: int = 4) -> nn.Sequential:
    torch.manual_seed(width)
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))


class Made(nn.Module):
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (student - teacher).abs().mean()


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (lambda student, teacher: (student - teacher).abs().mean(1), "a mean; got torch.float32 (2,)"),
        (lambda student, teacher: float((student - teacher).detach().abs().mean()), "got float"),
        (lambda student, teacher, labels: student.mean(), "takes 3 such arguments. What else it needs"),
        (lambda student: student.mean(), "takes 1 such arguments"),
        (F.cosine_embedding_loss, "cosine_embedding_loss is called with the student's activation and the teacher's"),
        (Made, "the class Made is made with the shapes of student and teacher, and takes 0 such arguments"),
    ],
)
def test_what_cannot_be_a_links_loss_is_told(loss: Any, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        Distiller(narrow(), narrow(), links=[Link("0", "0", loss=loss)], example=torch.randn(2, 3))
    assert told in str(caught.value)


@pytest.mark.parametrize("loss", [F.l1_loss, nn.L1Loss(), Made(), lambda s, t: (s - t).abs().mean(0).mean(0, True)])
def test_losses_of_torch_and_of_a_notebook_are_links(loss: Any) -> None:
    teacher, student, x = narrow(), narrow(5), torch.randn(5, 3)
    student[0] = nn.Linear(3, 4)
    student[2] = nn.Linear(4, 2)
    losses = Distiller(teacher, student, hard=0, links=[Link("0", "0", loss=loss)])(x)
    expected = (student[0](x) - teacher[0](x)).abs().mean()
    assert losses.total.shape == ()
    assert float(losses.total.detach()) == pytest.approx(float(expected.detach()))


def test_an_adapter_may_be_a_callable_or_a_module() -> None:
    x = torch.randn(5, 3)
    made = nn.Linear(5, 4)
    for adapter in (made, lambda student, teacher: nn.Linear(student[1], teacher[1])):
        teacher, student = narrow(4), narrow(5)
        distiller = Distiller(teacher, student, hard=0, links=[Link("0", "0", adapter=adapter)], example=x[:2])
        own = list(distiller.link_parameters())
        assert [tuple(it.shape) for it in own] == [(4, 5), (4,)]
        assert (own[0] is made.weight) == (adapter is made)
        losses = distiller(x)
        losses.total.backward()
        expected = (F.linear(student[0](x), *own) - teacher[0](x)).square().mean()
        assert float(losses.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
        assert all(it.grad is not None for it in own)
    with pytest.raises(UsageError, match=r"an adapter is a name, a callable of both shapes or an nn.Module; got True"):
        Distiller(narrow(4), narrow(5), links=[Link("0", "0", adapter=True)], example=x)  # type: ignore[arg-type]


def test_maps_of_three_axes_take_an_adapter_as_it_is_told() -> None:
    teacher, student = (nn.Sequential(nn.Conv3d(1, width, 2), nn.Flatten(), nn.LazyLinear(2)) for width in (6, 4))
    x = torch.randn(2, 1, 3, 4, 5)
    with pytest.raises(ProblemsError, match=r"adapter=lambda student, teacher: torch.nn.Conv3d\(student\[1\]"):
        Distiller(teacher, student, links=["0 : mse, adapter=auto"], example=x)
    link = Link("0", "0", adapter=lambda student, teacher: nn.Conv3d(student[1], teacher[1], 1))
    assert Distiller(teacher, student, hard=0, links=[link], example=x)(x).total.requires_grad


@pytest.mark.parametrize("link", ["0 : at", "0 : hidden_mse", "0 -> 1 : attention_mse"])
def test_no_adapter_is_advised_that_would_not_help(link: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        Distiller(narrow(4), narrow(5), links=[link], example=torch.zeros(2, 3))
    assert "adapter=auto" not in str(caught.value)
    assert "Take another loss (layerlink ls losses) or other layers" in str(caught.value)
    with pytest.raises(ProblemsError, match=r"Write: 0 : sinkd, adapter=auto|Write: 0 : mse, adapter=auto"):
        Distiller(narrow(4), narrow(5), links=["0 : mse"], example=torch.zeros(2, 3))


def test_indices_beyond_crds_memory_are_told_after_the_example_was_tried() -> None:
    teacher, student = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)), nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    distiller = Distiller(
        teacher, student, links=["0 : crd(negatives=4, dim=8)"], example=torch.zeros(2, 4), facts=Facts(train_size=16)
    )
    with pytest.raises(UsageError, match=r"crd remembers 16 training examples, so indices lie in 0\.\.15; got 0\.\.16"):
        distiller(torch.zeros(2, 4), torch.tensor([0, 1]), indices=torch.tensor([0, 16]))
