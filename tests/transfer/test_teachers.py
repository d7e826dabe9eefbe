"""Teachers of all kinds in a distiller: several, the student's average, none but what they once said."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import layerlink as ll
from layerlink.errors import ProblemsError, UsageError
from layerlink.taps import Activations
from layerlink.teachers import EMATeacher, FrozenTeacher, SeveralTeachers


def net(width: int, outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, outputs))


@pytest.fixture
def two() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"big": net(8), "wide": net(6)}


X, Y = torch.randn(5, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0, 1])


def test_links_say_which_teacher_they_mean(two: dict[str, nn.Module]) -> None:
    student = net(8)
    losses = ll.Distiller(two, student, links=["big/0 -> 0 : mse", "wide/2 -> 2 : mse * 3"])(X, Y)
    assert float(losses.terms["big/0 -> 0 : mse"].detach()) == pytest.approx(
        float((two["big"][0](X) - student[0](X)).detach().square().mean()), rel=1e-6
    )
    assert float(losses.terms["wide/2 -> 2 : mse * 3"].detach()) == pytest.approx(
        float((two["wide"](X) - student(X)).detach().square().mean()), rel=1e-6
    )
    links = ["0 : mse", "larg/0 : mse", "big/9 -> 0 : mse"]
    with pytest.raises(ProblemsError) as caught:
        ll.Distiller(two, net(8), links=links)
    for text in (
        "there are several teachers: say which before the layer, such as big/0 : mse",
        "unknown teacher 'larg'",
        "the teacher has no layer '9'",
    ):
        assert text in str(caught.value)
    with pytest.raises(ProblemsError, match="big/ names one of several teachers, and there is one: leave it out"):
        ll.Distiller(two["big"], net(8), links=["big/0 : mse"])


def test_several_teachers_made_by_hand_are_the_same(two: dict[str, nn.Module]) -> None:
    made = SeveralTeachers({name: FrozenTeacher(model) for name, model in two.items()})
    student, links = net(8), ["big/0 -> 0 : mse", "wide/0 -> 0 : mse, adapter=linear"]
    found = []
    for teachers in (two, made):
        torch.manual_seed(3)
        found.append(ll.Distiller(teachers, student, soft=ll.Soft(), links=links, example=X)(X, Y).total)
    assert torch.equal(*found)


@pytest.mark.parametrize("average", ["probabilities", "logits"])
@pytest.mark.parametrize("given", [None, {"big": 3.0, "wide": 1.0}])
def test_softened_outputs_are_averaged(two: dict[str, nn.Module], average: Any, given: dict[str, float] | None) -> None:
    student = net(8)
    losses = ll.Distiller(two, student, soft=ll.Soft(2.0, teachers=given, average=average))(X, Y)
    shares = (0.5, 0.5) if given is None else (0.75, 0.25)
    outputs = [two[name](X).detach() / 2 for name in ("big", "wide")]
    if average == "probabilities":
        p = sum(share * output.softmax(1) for share, output in zip(shares, outputs, strict=True))
    else:
        p = sum(share * output for share, output in zip(shares, outputs, strict=True)).softmax(1)
    apart = (p * (p.log() - (student(X).detach() / 2).log_softmax(1))).sum(1).mean() * 4
    assert float(losses.terms["soft"].detach()) == pytest.approx(float(apart), rel=1e-5)


def test_other_tasks_average_as_they_compare(two: dict[str, nn.Module]) -> None:
    student, labels = net(8), torch.randint(0, 2, (5, 3))
    losses = ll.Distiller(two, student, soft=ll.Soft(2.0), task="multi-label")(X, labels)
    p = sum((two[name](X).detach() / 2).sigmoid() for name in two) / 2
    q = (student(X).detach() / 2).sigmoid()
    apart = 4 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    assert float(losses.terms["soft"].detach()) == pytest.approx(float(apart), rel=1e-4)
    losses = ll.Distiller(two, student, soft=ll.Soft(2.0), task="regression")(X, torch.zeros(5, 3))
    mean = sum(two[name](X).detach() for name in two) / 2
    assert float(losses.terms["soft"].detach()) == pytest.approx(
        float((mean - student(X).detach()).square().mean()), rel=1e-5
    )


def test_what_cannot_be_averaged_or_named_is_told(two: dict[str, nn.Module]) -> None:
    other = {**two, "other": net(8, outputs=4)}
    with pytest.raises(UsageError, match=r"cannot be averaged: big \(5, 3\), wide \(5, 3\), other \(5, 4\)"):
        ll.Distiller(other, net(8), soft=ll.Soft())(X, Y)
    ll.Distiller(other, net(8), soft=ll.Soft(teachers={"big": 1, "wide": 1}))(X, Y)  # the third is not asked
    with pytest.raises(UsageError, match=r"soft: teachers: unknown teacher 'bigg'. Did you mean big"):
        ll.Distiller(two, net(8), soft=ll.Soft(teachers={"bigg": 1}))
    with pytest.raises(UsageError, match="there is one teacher, which has no name"):
        ll.Distiller(two["big"], net(8), soft=ll.Soft(teachers={"big": 1}))
    with pytest.raises(UsageError, match="several teachers are two or more by names"):
        ll.Distiller({"a b": net(8), "c": net(8)}, net(8), soft=ll.Soft())
    with pytest.raises(UsageError, match="teachers must be weights > 0 by name"):
        ll.Soft(teachers={"big": 0})


def test_several_are_frozen_moved_and_only_run_where_asked(two: dict[str, nn.Module]) -> None:
    runs: list[str] = []
    for name, model in two.items():
        model.register_forward_hook(lambda _m, _a, _o, name=name: runs.append(name))
    distiller = ll.Distiller(
        {"big": FrozenTeacher(two["big"]), "wide": two["wide"]}, net(8), links=["big/0 -> 0 : mse"]
    )
    assert not any(p.requires_grad for model in two.values() for p in model.parameters())
    distiller(X, Y)
    assert "wide" not in runs
    distiller.double()
    assert all(p.dtype == torch.float64 for model in two.values() for p in model.parameters())
    assert not [name for name in distiller.state_dict() if "big" in name or "wide" in name]


def test_adapters_and_scales_take_the_teacher_that_is_meant(two: dict[str, nn.Module]) -> None:
    links = ["big/0 -> 0 : mse, adapter=linear, scale=teacher", "wide/0 -> 0 : mse, adapter=linear"]
    distiller = ll.Distiller(two, net(5), links=links, example=X[:2])
    losses = distiller(X, Y)
    variance = float(two["big"][0](X).detach().var(correction=0))
    assert losses.weights[links[0]] == pytest.approx(1 / variance, rel=1e-4)
    assert [tuple(p.shape) for p in distiller.link_parameters()][::2] == [(8, 5), (6, 5)]


def test_the_students_own_average_teaches_it_and_is_resumed() -> None:
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 3))
    begun = copy.deepcopy(student)
    teacher = EMATeacher(student, decay=0.75)
    distiller = ll.Distiller(teacher, student, soft=ll.Soft(1.0), links=["0 -> 0 : mse"]).train()
    optimizer = torch.optim.SGD(distiller.trainable_parameters(), 0.1)
    expected = begun[0].weight.detach().clone()
    for _ in range(3):
        losses = distiller(X, Y)
        losses.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        distiller.after_step()
        expected = 0.75 * expected + 0.25 * student[0].weight.detach()
    torch.testing.assert_close(teacher.average[0].weight, expected)
    assert torch.equal(teacher.average[1].running_mean, student[1].running_mean)
    assert student.training
    assert len(list(distiller.trainable_parameters())) == 6
    state = copy.deepcopy(distiller.state_dict())
    other = copy.deepcopy(begun)
    resumed = ll.Distiller(EMATeacher(other, decay=0.75), other, soft=ll.Soft(1.0), links=["0 -> 0 : mse"])
    resumed.load_state_dict(state)
    resumed.eval(), distiller.eval()
    with torch.no_grad():
        assert torch.equal(resumed(X, Y).total, distiller(X, Y).total)
    with pytest.raises(UsageError, match="decay must lie in"):
        EMATeacher(other, decay=1.0)


def test_a_teacher_is_not_needed_where_what_it_said_is_passed() -> None:
    student, logits = net(8), torch.randn(5, 3)
    distiller = ll.Distiller(None, student, soft=ll.Soft(2.0))
    losses = distiller(X, Y, taught=Activations(logits))
    known = ll.Distiller(lambda inputs: Activations(logits), student, soft=ll.Soft(2.0))(X, Y)
    assert torch.equal(losses.total, known.total)


def test_a_callable_that_gives_a_tensor_or_a_structure_teaches() -> None:
    student, logits = net(8), torch.randn(5, 3)
    expected = ll.Distiller(None, student, soft=ll.Soft(2.0))(X, Y, taught=Activations(logits)).total

    class Output:
        def __init__(self, logits: Tensor) -> None:
            self.logits = logits

    for given, output in (
        (logits, ""),
        ((logits, 3), "[0]"),
        ({"scores": logits}, "[scores]"),
        ({"logits": logits}, ""),
    ):
        distiller = ll.Distiller(lambda _inputs, given=given: given, student, soft=ll.Soft(2.0), teacher_logits=output)
        assert torch.equal(distiller(X, Y).total, expected)
    with pytest.raises(UsageError, match="the teacher's output gives a tuple with"):
        ll.Distiller(lambda _inputs: (logits, 3), student, soft=ll.Soft(2.0))(X, Y)
    with pytest.raises(ProblemsError, match="gives its output alone"):
        ll.Distiller(lambda _inputs: logits, student, links=["0 : mse"])(X, Y)
