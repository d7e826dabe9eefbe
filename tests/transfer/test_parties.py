"""Teachers and students as people pass them: what can be meant works, what cannot says what to pass."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import layerlink as ll
from layerlink.errors import UsageError


class Net(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.norm(self.body(x)).relu())
        return scores


class Inferring(Net):
    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(6, 4), torch.arange(6) % 3


def made_in_inference_mode() -> Net:
    with torch.inference_mode():
        return Net()


@pytest.mark.parametrize("make", [Inferring, made_in_inference_mode])
def test_a_teacher_of_inference_mode_teaches_as_any_other(make: Any) -> None:
    x, y = batch()
    teacher, student = make(), Net()
    plain = Net()
    plain.load_state_dict({name: value.clone() for name, value in teacher.state_dict().items()})
    grads = []
    for it in (teacher, plain):
        own = copy.deepcopy(student)
        distiller = ll.Distiller(it, own, soft=ll.Soft(), links=["body : mse * 3", "norm : rkd"], example=x[:2])
        distiller(x, y).total.backward()
        grads.append([parameter.grad for parameter in own.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*grads, strict=True))


@pytest.mark.parametrize("infers", [False, True])
def test_what_a_teacher_said_may_be_its_output_alone(infers: bool) -> None:
    x, y = batch()
    teacher, student = Net().eval(), Net()
    with torch.inference_mode(infers):
        said = teacher(x)
    losses = ll.Distiller(None, student, soft=ll.Soft(temperature=2.0), links=["@output : mse"])(x, y, taught=said)
    losses.total.backward()
    expected = 4 * F.kl_div((student(x) / 2).log_softmax(1), (said / 2).softmax(1), reduction="batchmean")
    assert float(losses.terms["soft"].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_no_gradient_reaches_a_teacher_whose_graph_is_passed() -> None:
    x, y = batch()
    teacher, student = Net(), Net()
    seen = ll.Distiller(None, teacher).study(x, [ll.Tap("body")])
    own = ll.Link("body", "body", loss=lambda student, teacher: (student - teacher).square().mean())
    ll.Distiller(None, student, soft=ll.Soft(), links=[own])(x, y, taught=seen).total.backward()
    assert seen.taps[ll.Tap("body")].requires_grad  # what was passed is as it was
    ll.Distiller(None, student, links=["@output : mse"])(x, y, taught=teacher(x)).total.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())


def test_several_teachers_may_be_a_module_dict() -> None:
    x, y = batch()
    several = {"big": Net(8), "wide": Net(5)}
    student = Net()
    how: dict[str, Any] = {"soft": ll.Soft(teachers={"big": 0.7, "wide": 0.3}), "links": ["big/body -> body : rkd"]}
    losses = [ll.Distiller(it, copy.deepcopy(student), **how)(x, y) for it in (nn.ModuleDict(several), several)]
    assert torch.equal(losses[0].total, losses[1].total)


@pytest.mark.parametrize(
    ("teacher", "told"),
    [
        (Net, "the class Net: call it"),
        ([Net(), Net()], "Several teachers are passed by name"),
        ({"only": Net()}, "a single teacher has no name: pass the model itself"),
        (Net().state_dict(), "load it into its model, model.load_state_dict"),
        ({"a b": Net(), "c": Net()}, "by names of letters, digits and _; got a b, c"),
        (Net().to("meta"), "the teacher's weights are on the device meta"),
    ],
)
def test_what_is_no_teacher_says_what_would_be_one(teacher: Any, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        ll.Distiller(teacher, Net())
    assert told in str(caught.value)


def test_what_is_no_student_says_what_would_be_one() -> None:
    with pytest.raises(UsageError, match="got the class Net: call it"):
        ll.Distiller(Net(), Net)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the student's weights are on the device meta"):
        ll.Distiller(Net(), Net().to("meta"))


@pytest.mark.parametrize("given", [1, lambda output: output[1]])
def test_where_logits_are_is_a_text(given: Any) -> None:
    with pytest.raises(UsageError, match=r"is a text, such as '\[0\]'"):
        ll.Distiller(Net(), Net(), teacher_logits=given)
    with pytest.raises(UsageError, match=r"is a text, such as '\[0\]'"):
        ll.Distiller(Net(), Net(), student_logits=given)
