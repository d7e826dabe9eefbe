from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import layerlink as ll
from foreign import Dataclassed, Foreign, Pair, images
from layerlink.errors import ProblemsError, UsageError
from layerlink.taps import OUTPUT, Activations, Tap
from layerlink.teachers import FrozenTeacher, PeerTeacher


def small(width: int = 6) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(width, 3)
    )


def batch(count: int = 8) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 4), torch.randint(0, 3, (count,))


def test_the_readme_example_trains_with_nothing_but_models_and_transfer() -> None:
    code = """
import sys, torch, layerlink as ll
teacher = ll.build_model("vgg16", num_classes=10, image_size=32, width=0.1)
student = ll.build_model("vgg7", num_classes=10, image_size=32, width=0.1)
distiller = ll.Distiller(teacher, student, hard=1.0, soft=ll.Soft(temperature=2.0, weight=10.0),
                         links=["group2 -> group2 : mse * 40", "group3 : mse * 40"])
losses = distiller(torch.randn(2, 3, 32, 32), torch.tensor([1, 2]))
assert list(losses.terms) == ["hard", "soft", "group2 -> group2 : mse * 40", "group3 : mse * 40"]
losses.total.backward()
assert all(p.grad is not None for p in distiller.trainable_parameters())
loaded = {name.split(".")[1] for name in sys.modules if name.startswith("layerlink.")}
known = {"adapters", "config", "errors", "losses", "models", "printable", "taps", "tasks", "teachers", "transfer",
         "user_code"}  # of config the size of an image, which models take
assert loaded == known, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@torch.no_grad()
def test_terms_are_raw_and_weights_are_applied_once() -> None:
    teacher, student = small().eval(), small().eval()
    x, y = batch()
    distiller = ll.Distiller(
        teacher, student, hard=0.5, soft=ll.Soft(temperature=3, weight=7), links=["0 -> 0 : mse * 40", "2 : mse * 2"]
    )
    student.eval()
    losses = distiller(x, y)
    hidden_s, hidden_t = student[1](student[0](x)), teacher[1](teacher[0](x))
    z_s, z_t = student[4](hidden_s.relu()), teacher[4](hidden_t.relu())
    expected = {
        "hard": F.cross_entropy(z_s, y),
        "soft": 9 * F.kl_div((z_s / 3).log_softmax(1), (z_t / 3).softmax(1), reduction="batchmean"),
        "0 -> 0 : mse * 40": (student[0](x) - teacher[0](x)).square().mean(),
        "2 : mse * 2": (hidden_s.relu() - hidden_t.relu()).square().mean(),
    }
    for name, value in expected.items():
        assert float(losses.terms[name].detach()) == pytest.approx(float(value.detach()), rel=1e-5)
    total = (
        0.5 * expected["hard"] + 7 * expected["soft"] + 40 * expected["0 -> 0 : mse * 40"] + 2 * expected["2 : mse * 2"]
    )
    assert float(losses.total.detach()) == pytest.approx(float(total.detach()), rel=1e-5)
    assert torch.allclose(losses.logits, z_s)
    assert losses.weights == {"hard": 0.5, "soft": 7, "0 -> 0 : mse * 40": 40, "2 : mse * 2": 2}


def test_the_teacher_is_frozen_in_eval_mode_and_unchanged_after_training() -> None:
    teacher, student = small().train(), small()
    before = copy.deepcopy(teacher.state_dict())
    distiller = ll.Distiller(teacher, student, soft=ll.Soft(), links=["0 : mse"])
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1)
    for _ in range(3):
        distiller.train()
        teacher.train()  # by mistake: the next batch undoes it
        losses = distiller(*batch())
        assert not any(module.training for module in teacher.modules())
        losses.total.backward()
        optimizer.step()
    assert all(module.training for module in student.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_a_student_that_learns_in_eval_mode_is_warned_of_once() -> None:
    distiller = ll.Distiller(small(), small(), links=["0 : mse"])
    distiller.eval()
    with torch.no_grad():
        distiller(*batch())
    with pytest.warns(UserWarning, match="eval mode") as caught:
        distiller(*batch())
    assert [str(warning.message) for warning in caught] == [
        "the student learns in eval mode: dropout is off and batch norm keeps its old statistics. Call "
        "distiller.train() before the epoch; where losses are only looked at, use torch.no_grad()"
    ]
    distiller(*batch())  # warnings are errors here: told once


def test_a_warning_points_to_the_line_of_the_loop() -> None:
    distiller = ll.Distiller(small(), small()).eval()
    with pytest.warns(UserWarning, match="eval mode") as caught:
        distiller(*batch())
    assert [warning.filename for warning in caught] == [__file__]


def test_the_teacher_is_in_neither_parameters_nor_state_but_moves_along() -> None:
    teacher, student = small(), small()
    distiller = ll.Distiller(teacher, student, soft=ll.Soft())
    assert {id(p) for p in distiller.parameters()} == {id(p) for p in student.parameters()}
    assert list(distiller.state_dict()) == [f"student.{name}" for name in student.state_dict()]
    distiller.to(torch.float64)
    assert teacher[0].weight.dtype == student[0].weight.dtype == torch.float64


@torch.no_grad()
def test_two_distillers_over_one_teacher_do_not_disturb_each_other() -> None:
    teacher, x, y = small(), *batch()
    students = [small().eval(), small().eval()]
    alone = [
        ll.Distiller(teacher, student, links=[link])(x, y).total
        for student, link in zip(students, ("0 : mse", "2 : mse"), strict=True)
    ]
    both = [
        ll.Distiller(teacher, students[0], links=["0 : mse"]),
        ll.Distiller(teacher, students[1], links=["2 : mse"]),
    ]
    for _ in range(2):
        assert [distiller(x, y).total for distiller in both] == alone
    assert all(not module._forward_hooks for module in teacher.modules())


def test_no_teacher_layer_above_the_deepest_link_is_computed_after_the_first_batch() -> None:
    teacher, ran = small(), []
    for name, module in teacher.named_children():
        module.register_forward_hook(lambda _m, _a, _o, name=name: ran.append(name))
    distiller = ll.Distiller(teacher, small(), links=["0 : mse", "2 : mse"])
    for expected in (["0", "1", "2", "3", "4"], ["0", "1", "2"], ["0", "1", "2"]):
        ran.clear()
        distiller(*batch())
        assert ran == expected
    ran.clear()
    ll.Distiller(teacher, small())(*batch())
    assert ran == []  # labels alone: no teacher pass at all


@torch.no_grad()
def test_a_known_teacher_pass_is_not_repeated() -> None:
    teacher, student = small(), small().eval()
    x, y = batch()
    distiller = ll.Distiller(teacher, student, soft=ll.Soft(), links=["0 : mse"])
    student.eval()
    taught = distiller.teacher(x, distiller.wanted)
    distiller.teacher = None
    assert float(distiller(x, y, taught=taught).total.detach()) > 0


@torch.no_grad()
def test_a_teacher_may_be_anything_that_gives_activations() -> None:
    def stored(inputs: Tensor) -> Activations:
        return Activations(torch.zeros(len(inputs), 3), {Tap("0"): torch.zeros(len(inputs), 6)})

    student = small().eval()
    distiller = ll.Distiller(stored, student, hard=0, links=["0 : mse"])
    student.eval()
    x, _ = batch()
    assert float(distiller(x).terms["0 : mse"].detach()) == pytest.approx(float(student[0](x).detach().square().mean()))


def test_a_foreign_model_distils_through_named_layers() -> None:
    teacher, student = Foreign(), Foreign()
    links = [
        "left : mse * 2",
        "relu#2 -> relu#2 : mse",
        "right.deep-path : mse",
        "[features][1] : mse",
        "head@input : mse",
    ]
    distiller = ll.Distiller(
        teacher, student, soft=ll.Soft(temperature=2), links=links, teacher_logits="scores", student_logits="[scores]"
    )
    optimizer = torch.optim.SGD(distiller.trainable_parameters(), lr=0.05)
    x, y = images(), torch.randint(0, 5, (6,))
    totals = []
    for _ in range(20):
        losses = distiller(x, y)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        totals.append(float(losses.total.detach()))
    assert list(losses.terms) == ["hard", "soft", *links]
    assert totals[-1] < 0.8 * totals[0]


def test_tuples_dataclasses_and_keyword_inputs() -> None:
    x, y = torch.randn(3, 4), torch.tensor([0, 1, 2])
    pair = ll.Distiller(
        Pair(), Pair(), soft=ll.Soft(), teacher_logits="[0]", student_logits="[0]", links=["split[1] : mse"]
    )
    assert pair(x, y).logits.shape == (3, 5)
    data = ll.Distiller(Dataclassed(), Dataclassed(), soft=ll.Soft(), links=["[hidden_states][1] : mse"])
    assert data({"values": x}, y).logits.shape == (3, 5)
    with pytest.raises(UsageError, match=r"the teacher's output gives a tuple with output\[0\], output\[1\]"):
        ll.Distiller(Pair(), Pair(), soft=ll.Soft(), student_logits="[0]")(x, y)


@pytest.mark.parametrize("arguments", [{"hard": 1}, {"hard": 0, "soft": ll.Soft()}])
def test_logits_are_found_in_what_the_student_returns_where_a_loss_reads_them(arguments: dict[str, Any]) -> None:
    x, y = {"values": torch.randn(3, 4)}, torch.tensor([0, 1, 2])
    student = Dataclassed()
    logits = ll.Distiller(Dataclassed(), student, links=["layer : mse"], **arguments)(x, y).logits
    assert torch.equal(logits, student(**x).logits)


def test_where_nothing_reads_logits_a_tensor_is_given_and_anything_else_is_not_looked_into() -> None:
    x, student = torch.randn(3, 4), nn.Sequential(nn.Linear(4, 2))
    assert torch.equal(ll.Distiller(small(2), student, hard=0, links=["0 : mse"])(x).logits, student(x))
    assert ll.Distiller(Pair(), Pair(), hard=0, links=["split[1] : mse"])(x).logits is None


def test_logits_that_are_not_found_are_answered_with_what_there_is() -> None:
    x, y = torch.randn(3, 4), torch.tensor([0, 1, 2])
    there = "output gives a tuple with output[0], output[1]. Name the element to read"
    for role, named in (("teacher", {"student_logits": "[0]"}), ("student", {"teacher_logits": "[0]"})):
        with pytest.raises(UsageError) as caught:
            ll.Distiller(Pair(), Pair(), soft=ll.Soft(), **named)(x, y)
        assert str(caught.value) == f"the {role}'s {there}: {role}_logits='[NAME]'"
    with pytest.raises(
        UsageError, match=r"^the student's output has no element 'x'; it gives a tuple with output\[0\]"
    ):
        ll.Distiller(None, Pair(), student_logits="x")(x, y)


def test_what_is_applied_to_the_distiller_alone_reaches_no_layer() -> None:
    teacher, student = small(), small()
    ll.Distiller(teacher, student, soft=ll.Soft())._apply(lambda tensor: tensor.double(), recurse=False)
    assert teacher[0].weight.dtype == student[0].weight.dtype == torch.float32


def test_every_wrong_link_is_told_at_once() -> None:
    with pytest.raises(ProblemsError) as caught:
        ll.Distiller(small(), small(), links=["o : mse", "0 -> 9 : mse", "0 : msee", "2 : mse"])
    text = str(caught.value)
    assert text.startswith("links: 4 problems")
    assert "the teacher has no layer 'o'" in text
    assert "the student has no layer '9'. It has 0, 1, 2, 3, 4" in text
    assert "unknown loss 'msee'" in text


def test_a_misspelt_path_is_answered_with_the_closest_names() -> None:
    teacher, student = (ll.build_model("vgg16", num_classes=10, image_size=32, width=0.02) for _ in range(2))
    with pytest.raises(ProblemsError, match=r"the teacher has no layer 'groop3'. Closest: group3"):
        ll.Distiller(teacher, student, links=["groop3 : mse * 40"])


def test_shapes_and_idle_layers_are_told_at_once_on_the_first_batch() -> None:
    distiller = ll.Distiller(
        Foreign(8),
        Foreign(4),
        links=["left : mse", "unused : mse", "relu : mse", "[scores] : mse"],
        student_logits="scores",
    )
    with pytest.raises(ProblemsError) as caught:
        distiller(images(), torch.zeros(6, dtype=torch.int64))
    text = str(caught.value)
    assert "mse needs equal shapes; student gives (6, 4, 8, 8), teacher (6, 8, 8, 8)" in text
    assert "the teacher's layer 'unused' never runs" in text
    assert "the student's layer 'relu' runs 3 times in one pass. Say which run: relu#0, relu#1, relu#2" in text
    assert "[scores]" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hard": 0}, "nothing to learn from"),
        ({"hard": -1}, "hard must be a finite number >= 0; got -1"),
        ({"hard": float("nan")}, "hard must be a finite number"),
        ({"label_smoothing": 1.0}, "label_smoothing must lie in 0 <= s < 1"),
    ],
)
def test_impossible_objectives_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ll.Distiller(small(), small(), **arguments)


@pytest.mark.parametrize(
    "arguments", [{"temperature": 0}, {"temperature": float("inf")}, {"weight": -1}, {"form": "ce"}]
)
def test_impossible_soft_losses_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="soft: "):
        ll.Soft(**arguments)


def test_soft_and_links_need_a_teacher_and_hard_needs_labels() -> None:
    with pytest.raises(UsageError, match=r"^soft and link losses need a teacher; got None, and no taught="):
        ll.Distiller(None, small(), soft=ll.Soft())(*batch())
    with pytest.raises(UsageError, match="the hard loss needs labels"):
        ll.Distiller(None, small())(batch()[0])


@torch.no_grad()
def test_soft_squares_the_temperature_unless_told_otherwise() -> None:
    teacher, student = small(), small().eval()
    x, y = batch()
    values = [
        float(ll.Distiller(teacher, student, soft=ll.Soft(temperature=3, t_squared=flag))(x, y).terms["soft"].detach())
        for flag in (True, False)
    ]
    assert values[0] == pytest.approx(9 * values[1], rel=1e-5)


def test_losses_print_names_values_and_weights() -> None:
    student = nn.Sequential(nn.Linear(2, 2))
    nn.init.zeros_(student[0].weight)
    nn.init.zeros_(student[0].bias)
    text = str(
        ll.Distiller(copy.deepcopy(student), student, links=["0 : mse * 40"])(torch.ones(1, 2), torch.tensor([0]))
    )
    assert text == "hard 0.6931 * 1   0 0 * 40   total 0.6931"


def test_a_frozen_teacher_keeps_buffers_and_gives_no_gradients() -> None:
    model = small().train()
    running = model[1].running_mean.clone()
    activations = FrozenTeacher(model)(torch.randn(8, 4) + 5, [OUTPUT, Tap("1")])
    assert torch.equal(model[1].running_mean, running)
    assert activations.logits is not None
    assert not activations.logits.requires_grad
    assert not activations.taps[Tap("1")].requires_grad


def test_no_gradient_reaches_the_inputs_through_the_teacher() -> None:
    x = torch.randn(4, 4, requires_grad=True)
    activations = FrozenTeacher(small())(x, [OUTPUT, Tap("0")])
    assert activations.logits is not None
    assert not activations.logits.requires_grad
    assert not activations.taps[Tap("0")].requires_grad


def test_a_teacher_that_works_in_place_on_its_input_changes_nothing_for_the_student() -> None:
    class Shifts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.sub_(1.0))

    student = nn.Sequential(nn.Linear(4, 3))
    x, y = batch()
    before = x.clone()
    distiller = ll.Distiller(Shifts(), student, soft=ll.Soft())
    for _ in range(3):
        losses = distiller(x, y)
        assert torch.equal(x, before)
        assert torch.equal(losses.logits, student(before))


def test_models_that_share_parameters_are_refused() -> None:
    model = small()
    for teacher in (model, FrozenTeacher(model)):
        with pytest.raises(UsageError) as caught:
            ll.Distiller(teacher, model, soft=ll.Soft())
        assert str(caught.value) == (
            "teacher and student share 6 parameters, such as 0.weight; freezing the teacher would freeze them in the "
            "student. Pass copy.deepcopy(model) as the teacher; where the student is the teacher with adapters, freeze "
            "what they share first"
        )


def test_a_student_without_anything_to_train_is_refused() -> None:
    with pytest.raises(UsageError, match="the student has no parameter to train: every one is frozen"):
        ll.Distiller(small(), small().requires_grad_(False), soft=ll.Soft())


class WithAdapter(nn.Module):
    """A frozen base and what is trained beside it, as in low-rank adaptation."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base, self.down, self.up = base, nn.Linear(4, 2, bias=False), nn.Linear(2, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


def test_a_frozen_base_teaches_the_student_that_extends_it() -> None:
    base = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)).requires_grad_(False)
    for teacher in (base, FrozenTeacher(base)):
        student = WithAdapter(base)
        distiller = ll.Distiller(teacher, student, soft=ll.Soft()).train()
        losses = distiller(torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        losses.total.backward()
        assert base.training  # the student's dropout is on
        assert student.down.weight.grad is not None
        assert base[0].weight.grad is None
        assert [name for name, _ in student.named_parameters() if _.requires_grad] == ["down.weight", "up.weight"]


def test_what_a_distiller_trains_is_not_frozen_by_another() -> None:
    big, middle, tiny = small(), small(), small()
    first = ll.Distiller(big, middle, soft=ll.Soft())
    with pytest.raises(UsageError, match=r"the teacher's 0.weight is trained by another distiller.*PeerTeacher"):
        ll.Distiller(middle, tiny, soft=ll.Soft())
    assert all(parameter.requires_grad for parameter in middle.parameters())
    x, y = batch()
    second = ll.Distiller(PeerTeacher(middle), tiny, soft=ll.Soft())
    (first(x, y).total + second(x, y).total).backward()
    assert all(parameter.grad is not None for parameter in middle.parameters())
    assert middle.training
    del first  # its training is over
    ll.Distiller(middle, tiny, soft=ll.Soft())
    assert not any(parameter.requires_grad for parameter in middle.parameters())


def test_two_students_teach_each_other() -> None:
    torch.manual_seed(0)
    a, b = small(), small()
    x, y = batch()
    distillers = [ll.Distiller(PeerTeacher(other), own, soft=ll.Soft(1.0)) for own, other in ((a, b), (b, a))]
    optimizers = [torch.optim.SGD(it.trainable_parameters(), 0.2) for it in distillers]
    apart = []
    for _ in range(40):
        losses = [it(x, y) for it in distillers]
        apart.append(float(losses[0].terms["soft"].detach()))
        for loss, optimizer in zip(losses, optimizers, strict=True):
            optimizer.zero_grad()
            loss.total.backward()
        for optimizer in optimizers:
            optimizer.step()
    assert apart[-1] < 0.7 * apart[0]


def test_two_that_teach_each_other_need_one_pass_each() -> None:
    torch.manual_seed(0)
    ones = [nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)) for _ in range(2)]
    a, b = (
        ll.Distiller(None, own, soft=ll.Soft(2.0), links=[link])
        for own, link in zip(ones, ("0 -> 0 : mse", "@output -> @output : mse"), strict=True)
    )
    x, y = batch()
    passes = []
    for model in ones:
        model.register_forward_hook(lambda *_: passes.append(1))
    of_a, of_b = a.study(x, also=b.wanted), b.study(x, also=a.wanted)
    losses = a(x, y, studied=of_a, taught=of_b.detached()), b(x, y, studied=of_b, taught=of_a.detached())
    (losses[0].total + losses[1].total).backward()
    found = [[parameter.grad.clone() for parameter in model.parameters()] for model in ones]
    assert len(passes) == 2
    hidden, outputs = [model[0](x) for model in ones], [model(x) for model in ones]
    for own, link in ((0, F.mse_loss(hidden[0], hidden[1].detach())), (1, F.mse_loss(outputs[1], outputs[0].detach()))):
        p = torch.softmax(outputs[1 - own].detach() / 2, 1)
        soft = 4 * (p * (p.log() - torch.log_softmax(outputs[own] / 2, 1))).sum(1).mean()
        expected = torch.autograd.grad(F.cross_entropy(outputs[own], y) + soft + link, list(ones[own].parameters()))
        for gradient, other in zip(found[own], expected, strict=True):
            torch.testing.assert_close(gradient, other)


def test_lazy_layers_are_filled_from_the_example() -> None:
    def student() -> nn.Module:
        return nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(3))

    with pytest.raises(UsageError, match=r"the student has lazy layers.*pass example=inputs of two examples"):
        ll.Distiller(None, student())
    distiller = ll.Distiller(None, student(), example=torch.zeros(2, 4))
    assert [tuple(p.shape) for p in distiller.trainable_parameters()] == [(5, 4), (5,), (3, 5), (3,)]


def test_layers_of_a_teacher_that_is_frozen_already_are_looked_up() -> None:
    teacher = FrozenTeacher(small())
    with pytest.raises(ProblemsError, match="the teacher has no layer 'nope'"):
        ll.Distiller(teacher, small(), links=["nope -> 0 : mse"])


def test_a_link_that_teaches_nothing_is_an_error() -> None:
    student = small()
    student[0].requires_grad_(False)
    x, y = batch()
    with pytest.raises(ProblemsError) as caught:
        ll.Distiller(small(), student, links=["0 : mse"])(x, y)
    assert caught.value.problems[0].what == (
        "teaches nothing: no gradient reaches the student's layer '0'. It is frozen, an input, computed under "
        "no_grad, or inside a checkpoint with use_reentrant=True (use_reentrant=False would do)"
    )
    with pytest.raises(ProblemsError, match="teaches nothing"):
        ll.Distiller(small(), small(), links=["0@input : mse"])(x, y)
    with torch.no_grad():  # in validation nothing has to learn
        ll.Distiller(small(), student, links=["0 : mse"])(x, y)


def test_weights_that_are_all_0_are_refused_and_a_single_0_only_logs() -> None:
    with pytest.raises(UsageError, match="nothing to learn from"):
        ll.Distiller(small(), small(), hard=0, soft=ll.Soft(weight=0), links=["0 : mse * 0"])
    x, y = batch()
    losses = ll.Distiller(small(), small(), links=["0 : mse * 0"])(x * 1e30, y)
    assert float(losses.terms["0 : mse * 0"].detach()) == float("inf")
    assert torch.equal(losses.total, losses.terms["hard"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"links": "0 : mse * 40"}, "links must be a list"),
        ({"links": None}, "links must be a list"),
        ({"links": [None]}, "a link is a text or a layerlink.Link; got NoneType"),
        ({"soft": 4.0}, "soft must be layerlink.Soft"),
        ({"hard": "1"}, "hard as a text is '@output[NAME]' or package.module:name; got '1'"),
        ({"hard": [1]}, "layerlink.Hard(weight=..., loss=...), a callable (output, target) or a text; got [1]"),
        (
            {"teacher": "t"},
            "the teacher must be a torch.nn.Module or give Activations; got 't'. One of layerlink's own models is ",
        ),
        ({"student": "s"}, "the student must be a torch.nn.Module; got str"),
    ],
)
def test_arguments_of_another_kind_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        ll.Distiller(**{"teacher": small(), "student": small(), **arguments})
    assert message in str(caught.value)


def test_a_tap_on_integers_is_named() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kinds = nn.Identity()
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.kinds(x.long())
            return self.head(x)

    x, y = batch()
    with pytest.raises(ProblemsError, match=r"mse needs floating-point tensors; student gives torch.int64"):
        ll.Distiller(Counts(), Counts(), links=["kinds : mse"])(x, y)


def test_with_an_example_links_that_do_not_fit_are_told_before_there_is_an_optimiser() -> None:
    teacher = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3))
    with pytest.raises(ProblemsError, match=r"student gives \(2, 6\), teacher \(2, 5\)"):
        ll.Distiller(teacher, small(), links=["0 : mse"], example=torch.randn(2, 4))
    ll.Distiller(teacher, small(), links=["0 : mse"])  # without one: at the first batch
    distiller = ll.Distiller(small(), small(), links=["0 : mse"], example=torch.randn(2, 4))
    assert distiller.student.training
