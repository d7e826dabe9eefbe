from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from layerlink.errors import ProblemsError, UsageError
from layerlink.losses import Context
from layerlink.transfer import Activations, Link, Losses, Objective, Soft, Tap

LINK = Link.parse("a : mse * 2")


@pytest.mark.parametrize("temperature", [0, -1, 1e-40, 0.009, 1001, 1e30, float("inf"), float("nan")])
def test_a_temperature_at_which_float32_gives_wrong_numbers_is_refused(temperature: float) -> None:
    with pytest.raises(UsageError, match=r"soft: temperature must lie in 0\.01\.\.1000; got"):
        Soft(temperature)


@pytest.mark.parametrize("temperature", [0.01, 1, 1000])
def test_temperatures_at_the_ends_are_taken(temperature: float) -> None:
    assert Soft(temperature).temperature == temperature


def test_impossible_values_are_told_whole() -> None:
    for make, message in (
        (lambda: Soft(weight=-1), "soft: weight must be a finite number >= 0; got -1"),
        (lambda: Soft(form="ce"), "soft: form must be 'kl' or 'cross-entropy'; got 'ce'"),  # type: ignore[arg-type]
        (lambda: Objective(hard=0), "nothing to learn from: give hard, soft or a link a weight > 0"),
    ):
        with pytest.raises(UsageError) as caught:
            make()
        assert str(caught.value) == message


def given() -> tuple[Activations, Activations, Tensor]:
    student, teacher = (Activations(torch.randn(4, 3), {Tap("a"): torch.randn(4, 5)}) for _ in range(2))
    return student, teacher, torch.tensor([0, 1, 2, 1])


def test_label_smoothing_reaches_the_hard_loss() -> None:
    student, _, target = given()
    assert student.logits is not None
    losses = Objective(label_smoothing=0.25)(student, None, target)
    log_p = student.logits.log_softmax(dim=1)
    expected = -(0.75 * log_p[range(4), target] + 0.25 * log_p.mean(dim=1)).mean()
    assert float(losses.total) == pytest.approx(float(expected), rel=1e-6)


def test_the_form_of_the_soft_loss_reaches_it() -> None:
    student, teacher, _ = given()
    assert student.logits is not None
    assert teacher.logits is not None
    losses = Objective(hard=0, soft=Soft(temperature=2, form="cross-entropy"))(student, teacher, None)
    expected = 4 * F.cross_entropy(student.logits / 2, (teacher.logits / 2).softmax(dim=1))
    assert float(losses.total) == pytest.approx(float(expected), rel=1e-6)


def test_what_is_missing_is_told() -> None:
    student, teacher, target = given()
    soft = Objective(soft=Soft())
    for objective, arguments, message in (
        (
            Objective(),
            (student, None, None),
            "the hard loss needs labels: pass them as target, distiller(inputs, labels), or set hard=0",
        ),
        (Objective(links=(LINK,)), (student, None, target), "soft and link losses need a teacher"),
        (soft, (student, Activations(None), target), "the soft loss needs the logits of both models"),
    ):
        with pytest.raises(UsageError) as caught:
            objective(*arguments)
        assert str(caught.value).startswith(message)
    with pytest.raises(UsageError, match="the soft loss needs the logits of both models"):
        Objective(hard=0, soft=Soft())(Activations(None), teacher, target)


def test_outputs_of_other_classes_say_what_would_do() -> None:
    with pytest.raises(UsageError, match=r"student gives \(2, 3\), teacher \(2, 4\)\. Outputs of other classes"):
        Objective(hard=0, soft=Soft())(Activations(torch.zeros(2, 3)), Activations(torch.zeros(2, 4)), None)


def test_labels_that_are_no_tensor_are_told() -> None:
    student, _, target = given()
    for labels, kind in (([0, 1, 2], "list"), ((target, target.flip(0), 0.3), "tuple"), (target.numpy(), "ndarray")):
        with pytest.raises(UsageError, match=f"needs a tensor of labels; got {kind}"):
            Objective()(student, None, Context(labels=labels))  # type: ignore[arg-type]
        own = Objective(hard=lambda output, labels: torch.as_tensor(len(labels) * 1.0))
        assert float(own(student, None, Context(labels=labels)).total) == len(labels)  # type: ignore[arg-type]


def test_what_is_mistaken_for_the_sum_says_where_it_is() -> None:
    student, _, target = given()
    losses = Objective()(student, None, target)
    with pytest.raises(AttributeError, match=r"the weighted sum is a tensor: losses.total.backward"):
        losses.backward()
    with pytest.raises(AttributeError, match=r"Losses has no 'nothing'$"):
        _ = losses.nothing
    assert repr(losses) == f"Losses({losses})"
    assert copy.deepcopy(losses).total == losses.total


def test_layers_that_neither_model_gave_are_named() -> None:
    student, _, target = given()
    nothing = Activations(student.logits)
    with pytest.raises(ProblemsError) as caught:
        Objective(links=(LINK,))(nothing, nothing, target)
    assert [problem.what for problem in caught.value.problems] == [
        "teacher layer 'a' was not read",
        "student layer 'a' was not read",
    ]


def test_links_that_weigh_nothing_make_a_total_of_0_that_can_go_backward() -> None:
    term = torch.tensor(3.0, requires_grad=True)
    losses = Objective(links=(LINK,)).weigh(Losses({LINK.text: term}, {}, term, None), {LINK.text: 0.0})
    losses.total.backward()
    assert float(losses.total.detach()) == 0
    assert term.grad is not None
    assert float(term.grad) == 0
