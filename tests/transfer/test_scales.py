from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from layerlink.errors import LayerlinkError, ProblemsError, UsageError
from layerlink.transfer import Activations, Distiller, Link, Soft

BY_GRADIENT, ACT = "first : mse, scale=gradient", "act : mse, scale=gradient"


class Small(nn.Module):
    """Two linear layers; ``act`` works in place after ``first``, and what ``first`` gave is overwritten then."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.act = nn.ReLU(inplace=True)
        self.last = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.act(self.first(x)))
        return out


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(16, 6), torch.randint(0, 3, (16,))


def test_teacher_scale_is_one_over_the_variance_of_the_first_batch(batch: tuple[Tensor, Tensor]) -> None:
    teacher, student = Small(), Small()
    distiller = Distiller(teacher, student, links=["first : mse * 3, scale=teacher"])
    losses = distiller(*batch)
    name = "first : mse * 3, scale=teacher"
    weight, bias = teacher.first.weight.numpy(), teacher.first.bias.numpy()
    values = batch[0].numpy().astype(np.float64) @ weight.T.astype(np.float64) + bias
    assert losses.weights[name] == pytest.approx(3 / values.var(), rel=1e-5)
    raw = F.mse_loss(student.first(batch[0]), teacher.first(batch[0]))
    assert losses.terms[name].item() == pytest.approx(raw.item(), rel=1e-5)  # what is logged is the raw term
    before = losses.weights[name]
    assert distiller(batch[0] * 7, batch[1]).weights[name] == before  # measured once


@pytest.mark.parametrize("tap", ["act", "first"])
def test_gradient_scale_makes_the_weight_the_ratio_of_the_gradients(tap: str, batch: tuple[Tensor, Tensor]) -> None:
    teacher, student = Small(), Small()
    text = f"{tap} : mse * 0.25, scale=gradient"
    losses = Distiller(teacher, student, hard=2.0, links=[text])(*batch)
    # By hand: the activation as a leaf, hard and link loss on it.
    with torch.no_grad():
        first, goal = student.first(batch[0]), teacher.first(batch[0])
        value, goal = (first, goal) if tap == "first" else (first.relu(), goal.relu())
    value = value.requires_grad_()
    above = value.relu() if tap == "first" else value
    (hard,) = torch.autograd.grad(2 * F.cross_entropy(student.last(above), batch[1]), value)
    (link,) = torch.autograd.grad(losses.weights[text] * ((value - goal) ** 2).mean(), value)
    assert float(link.norm()) == pytest.approx(0.25 * float(hard.norm()), rel=1e-4)


def test_gradient_scale_is_measured_every_16_steps_and_smoothed(batch: tuple[Tensor, Tensor]) -> None:
    student = Small()
    distiller = Distiller(Small(), student, links=["act : mse, scale=gradient"])
    seen = []
    for step in range(18):
        if step == 8:
            with torch.no_grad():
                student.last.weight.mul_(3)
        seen.append(distiller(*batch).weights["act : mse, scale=gradient"])
    assert len(set(seen[:16])) == 1
    fresh = Distiller(distiller.teacher, student, links=["act : mse, scale=gradient"])
    now = fresh(*batch).weights["act : mse, scale=gradient"]
    assert seen[16] == pytest.approx((seen[0] + now) / 2, rel=1e-5)
    assert seen[17] == seen[16]


def test_factors_go_on_from_the_state(batch: tuple[Tensor, Tensor]) -> None:
    links = ["act : mse, scale=gradient", "first : mse, scale=teacher"]
    teacher, student = Small(), Small()
    first = Distiller(teacher, student, links=links)
    before = first(*batch)
    second = Distiller(teacher, Small(), links=links)
    second.load_state_dict(first.state_dict())
    assert second(batch[0] + 1, batch[1]).weights == before.weights


def test_the_state_of_other_links_is_refused() -> None:
    first, second = (Distiller(Small(), Small(), links=links) for links in ([BY_GRADIENT], [BY_GRADIENT, ACT]))
    with pytest.raises(ValueError, match="zip"):
        second.load_state_dict(first.state_dict())


def test_without_scales_the_state_is_the_students_alone() -> None:
    distiller = Distiller(Small(), Small(), links=["act : mse"])
    assert all(name.startswith("student.") for name in distiller.state_dict())


def test_a_constant_teacher_layer_cannot_be_scaled(batch: tuple[Tensor, Tensor]) -> None:
    teacher = Small()
    with torch.no_grad():
        teacher.first.weight.zero_()
        teacher.first.bias.fill_(-1)
    with pytest.raises(LayerlinkError) as caught:
        Distiller(teacher, Small(), links=["act : mse, scale=teacher"])(*batch)
    assert str(caught.value) == (
        "link 'act : mse, scale=teacher': the teacher's layer has variance 0 on the first batch, so it cannot be "
        "scaled by it. Link a layer that is not constant, or set scale=none"
    )


def test_gradient_scale_without_anything_to_compare_with_is_refused(batch: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(UsageError) as caught:
        Distiller(Small(), Small(), hard=0, links=["act : mse, scale=gradient"])
    assert str(caught.value) == (
        "scale=gradient compares with the gradient of the labels: give hard or soft a weight > 0"
    )
    text = "act : mse, scale=gradient"
    losses = Distiller(Small(), Small(), hard=0, soft=Soft(), links=[text])(*batch)
    assert losses.weights[text] > 0


def test_a_layer_that_the_labels_do_not_reach_is_refused(batch: tuple[Tensor, Tensor]) -> None:
    class Apart(Small):
        def forward(self, x: Tensor) -> Tensor:
            self.first(x)
            return self.last(x[:, :5])

    with pytest.raises(LayerlinkError) as caught:
        Distiller(Small(), Apart(), links=["first : mse, scale=gradient"])(*batch)
    assert str(caught.value) == (
        "link 'first : mse, scale=gradient': the hard loss does not depend on the student's layer, so the link cannot "
        "be scaled by its gradient. Set scale=teacher or scale=none"
    )


def test_a_step_can_be_taken_after_measuring(batch: tuple[Tensor, Tensor]) -> None:
    student = Small()
    distiller = Distiller(Small(), student, links=[BY_GRADIENT, "act : mse, scale=gradient"])
    losses = distiller(*batch)
    assert losses.logits is not None
    assert torch.equal(losses.logits, student(batch[0]))
    expected = losses.terms["hard"] + sum(losses.terms[name] * losses.weights[name] for name in distiller.scales.now)
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-6)
    losses.total.backward()
    assert student.first.weight.grad is not None
    assert not distiller.scales.by_gradient(losses, Activations(None)), "the next time is 16 steps later"


def test_a_factor_that_is_not_measured_yet_is_0_and_is_none_in_the_state(batch: tuple[Tensor, Tensor]) -> None:
    first, second = (Distiller(Small(), Small(), links=[BY_GRADIENT]) for _ in range(2))
    with torch.no_grad():  # as in a validation before the training
        losses = first(*batch)
    assert losses.weights[BY_GRADIENT] == 0
    assert losses.total.item() == losses.terms["hard"].item()
    second.load_state_dict(first.state_dict())
    assert second.scales.factors == {}


@pytest.mark.parametrize(("what", "hard", "factor"), [("equal", 1.0, 1.0), ("huge", 1.0, 1e25), ("heavy", 1e300, 1.0)])
def test_gradients_that_say_nothing_leave_the_factor_open(
    what: str, hard: float, factor: float, batch: tuple[Tensor, Tensor]
) -> None:
    """The link's gradient is 0, or leaves float32; the labels' leaves float32."""
    teacher = Small()
    student = copy.deepcopy(teacher) if what == "equal" else Small()
    distiller = Distiller(teacher, student, hard=hard, links=[BY_GRADIENT])
    distiller(batch[0] * factor, batch[1])
    assert distiller.scales.factors == {}


def test_what_all_links_share_yields_to_what_a_link_says(batch: tuple[Tensor, Tensor]) -> None:
    links = ["first : mse", "act : mse, scale=none, until=1"]
    distiller = Distiller(Small(), Small(), links=links, link_scale="teacher", link_until=3, link_decay="linear")
    first, act = distiller.whole_objective.links
    assert (first.scale, first.until, first.decay) == ("teacher", 3, "linear")
    assert (act.scale, act.until, act.decay) == ("none", 1, "linear")
    distiller.at(0, 3)
    assert distiller(*batch).weights["act : mse, scale=none, until=1"] == 1


def test_links_fade_and_end_with_time(batch: tuple[Tensor, Tensor]) -> None:
    texts = ["first : mse * 8, decay=linear", "act : mse * 4, until=2", "last : mse * 4, until=2, decay=linear"]
    teacher = Small()
    distiller = Distiller(teacher, Small(), links=texts)
    expected = {0: [8, 4, 4], 0.5: [7, 4, 3], 2: [4], 3.5: [1], 4: []}
    for epoch, weights in expected.items():
        distiller.at(epoch, 4)
        losses = distiller(*batch)
        assert list(losses.weights.values())[1:] == pytest.approx(weights), epoch
    passes = []
    teacher.register_forward_hook(lambda *_: passes.append(1))
    distiller(*batch)
    assert not passes, "with every link over, nothing is asked of the teacher"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("act : mse * 2, scale=teachr", "unknown scale 'teachr'. Did you mean teacher"),
        ("act : mse * 2, scal=teacher", "unknown option of a link 'scal'. Did you mean scale"),
        ("act : mse * 2, until=soon", "until must be a number; got 'soon'"),
        ("act : mse * 2, until=0", "until must be a finite number of epochs > 0; got 0"),
        ("act : mse * 2, until=1, until=2", "option until stands here twice"),
        ("act : mse * 2,", "expected options such as"),
        ("act : mse, decay", "expected options such as"),
        ("act : mse, until=", "expected options such as .* after the comma; got 'until='"),
        ("act : mse, until=1=2", "until must be a number; got '1=2'"),
        (
            "act : mse, x=1",
            "unknown option of a link 'x'. Known: scale, decay, adapter, where, teacher_where, until, from, warmup",
        ),
    ],
)
def test_wrong_options_say_what_is_right(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Link.parse(text)
    with pytest.raises(ProblemsError):
        Distiller(Small(), Small(), links=[text])


def test_a_link_made_in_python_reads_back_from_its_text() -> None:
    link = Link.parse("a.b -> c#1 : mse * 0.5, scale=gradient, until=2.5, decay=linear")
    again = Link(link.teacher, link.student, link.loss, link.weight, link.scale, link.until, link.decay)
    assert Link.parse(again.text) == again == link
