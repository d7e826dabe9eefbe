"""Outputs compared in pieces: the numbers and gradients of the plain way, and logits that are never whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import layerlink as ll
from layerlink.taps import OUTPUT
from layerlink.transfer import cut
from layerlink.transfer.pieces import read_of_student

WORDS, DIM, ROWS, LENGTH = 37, 8, 3, 11


class Model(nn.Module):
    """Tokens in, logits (N, L, V) out, each of the tokens up to its own."""

    def __init__(self, width: int, *, tied: bool = False, bias: bool = False, scale: float = 1.0) -> None:
        super().__init__()
        self.embedding, self.body = nn.Embedding(WORDS, width), nn.Linear(width, width)
        self.head, self.scale, self.seen = nn.Linear(width, WORDS, bias=bias), scale, list[int]()
        if tied:
            self.head.weight = self.embedding.weight
        self.head.register_forward_hook(lambda _module, _inputs, output: self.seen.append(output.shape[-2]))

    def forward(self, input_ids: Tensor) -> Tensor:
        states = torch.tanh(self.body(self.embedding(input_ids).cumsum(1)))
        return self.head(states) * self.scale if self.scale != 1 else self.head(states)


def batch(*, padded: bool = False) -> tuple[dict[str, Tensor], Tensor]:
    draw = torch.Generator().manual_seed(7)
    tokens = torch.randint(1, WORDS, (ROWS, LENGTH), generator=draw)
    labels = tokens.clone()
    if padded:
        labels[0, 6:], labels[2, 3:] = -100, -100
    return {"input_ids": tokens}, labels


def models(**how: Any) -> tuple[Model, Model]:
    torch.manual_seed(3)
    return Model(12).double(), Model(DIM, **how).double()


def losses_and_gradients(
    distiller: ll.Distiller, inputs: dict[str, Tensor], labels: Tensor | None, mask: Tensor | None = None
) -> tuple[dict[str, Tensor], list[Tensor]]:
    distiller.student.zero_grad()
    losses = distiller(inputs, labels, mask=mask)
    losses.total.backward()
    return losses.terms, [parameter.grad.clone() for parameter in distiller.student.parameters()]


CASES: dict[str, dict[str, Any]] = {
    "labels": {},
    "labels, smoothed": {"label_smoothing": 0.1},
    "both": {"soft": ll.Soft(temperature=1)},
    "temperature": {"soft": ll.Soft(temperature=3, weight=0.4, t_squared=False)},
    "cross-entropy": {"soft": ll.Soft(temperature=2, form="cross-entropy"), "hard": 0.3},
    "soft alone": {"soft": ll.Soft(temperature=2), "hard": 0},
    "reverse": {"links": ["@output : kd(temperature=1.0, form=reverse) * 0.5"]},
    "mixture": {"links": ["@output : kd(temperature=2.0, form=js)"]},
    "top": {"links": ["@output : topk_kl(k=5, temperature=2.0)"], "soft": ll.Soft(temperature=1)},
    "with a layer": {"links": ["body : mse, adapter=auto"], "soft": ll.Soft(temperature=1)},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("padded", [False, True])
def test_numbers_and_gradients_are_those_of_the_plain_way(
    case: str, padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cut, "AT_ONCE", 5 * WORDS)
    teacher, student = models(tied=case != "labels", bias=case == "both")
    inputs, labels = batch(padded=padded)
    torch.manual_seed(1)
    distiller = ll.Distiller(teacher, student, example=inputs, task="causal-lm", **CASES[case])
    assert distiller.pieces is not None
    student.seen.clear()
    teacher.seen.clear()
    terms, gradients = losses_and_gradients(distiller, inputs, labels)
    assert max(student.seen) == 5
    assert len(student.seen) == 2 * 7  # of 33 tokens, forward and backward
    if distiller.wanted:
        assert max(teacher.seen, default=0) <= 5
    distiller.compare_whole()
    plain, expected = losses_and_gradients(distiller, inputs, labels)
    assert terms.keys() == plain.keys()
    for name, value in plain.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-9, abs=1e-12), name
    for one, other in zip(gradients, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_of_a_callers_mask_both_tokens_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut, "AT_ONCE", 4 * WORDS)
    teacher, student = models()
    inputs, labels = batch()
    mask = torch.rand(ROWS, LENGTH, generator=torch.Generator().manual_seed(1)) > 0.4
    links = ["@output : kd(temperature=1.0, form=reverse)"]
    distiller = ll.Distiller(
        teacher, student, soft=ll.Soft(temperature=2), links=links, example=inputs, task="causal-lm"
    )
    terms, gradients = losses_and_gradients(distiller, inputs, labels, mask)
    distiller.compare_whole()
    plain, expected = losses_and_gradients(distiller, inputs, labels, mask)
    assert {name: it.item() for name, it in terms.items()} == pytest.approx(
        {name: it.item() for name, it in plain.items()}, rel=1e-9
    )
    assert all(torch.allclose(one, other, atol=1e-12) for one, other in zip(gradients, expected, strict=True))


def test_what_counts_nowhere_is_nothing() -> None:
    teacher, student = models()
    inputs, labels = batch()
    distiller = ll.Distiller(teacher, student, soft=ll.Soft(temperature=2), example=inputs, task="causal-lm")
    terms, gradients = losses_and_gradients(distiller, inputs, torch.full_like(labels, -100))
    assert [value.item() for value in terms.values()] == [0, 0]
    assert not any(gradient.any() for gradient in gradients)


def test_terms_that_are_added_up_otherwise_have_their_own_gradients() -> None:
    teacher, student = models(tied=True)
    inputs, labels = batch()
    distiller = ll.Distiller(teacher, student, soft=ll.Soft(temperature=2), example=inputs, task="causal-lm")
    found = []
    for _ in range(2):
        student.zero_grad()
        terms = distiller(inputs, labels).terms
        (3 * terms["hard"] - 0.5 * terms["soft"]).backward()
        found.append(student.head.weight.grad.clone())
        distiller.compare_whole()
    assert torch.allclose(*found, atol=1e-12)


def test_in_bfloat16_it_is_as_near_as_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut, "AT_ONCE", 6 * WORDS)
    torch.manual_seed(3)
    teacher, student = Model(12), Model(DIM, tied=True)
    inputs, labels = batch()
    distiller = ll.Distiller(teacher, student, soft=ll.Soft(temperature=2), example=inputs, task="causal-lm")

    def run(distiller: ll.Distiller, *, half: bool) -> Tensor:
        student.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            losses = distiller(inputs, labels)
        losses.total.backward()
        assert all(term.dtype == torch.float32 for term in losses.terms.values())
        return torch.cat([student.head.weight.grad.flatten(), student.body.weight.grad.flatten()])

    in_pieces = run(distiller, half=True)
    distiller.compare_whole()
    plain, exact = run(distiller, half=True), run(distiller, half=False)
    off, others = ((it - exact).norm() / exact.norm() for it in (in_pieces, plain))
    assert off < 0.02
    assert off < 1.5 * others


@pytest.mark.parametrize(
    ("how", "task", "example"),
    [
        ({"links": ["@output : mse, adapter=linear"]}, "causal-lm", True),  # whose adapter is made for whole outputs
        ({}, "sequence-labelling", True),
        ({}, "causal-lm", False),
        ({"hard": "@output[loss]"}, "causal-lm", True),
    ],
)
def test_elsewhere_outputs_are_compared_whole(how: dict[str, Any], task: str, example: bool) -> None:
    teacher, student = models()
    inputs, _ = batch()
    distiller = ll.Distiller(teacher, student, task=task, example=inputs if example else None, **how)
    assert distiller.pieces is None


def test_logits_that_are_more_than_a_linear_layer_are_compared_whole() -> None:
    inputs, labels = batch()
    teacher, student = models(scale=2.0)
    assert ll.Distiller(teacher, student, example=inputs, task="causal-lm").pieces is None
    student, teacher = models(scale=2.0)  # now that is the teacher's: its logits are whole, the student's are not
    student.requires_grad_()
    distiller = ll.Distiller(teacher, student, soft=ll.Soft(temperature=1), example=inputs, task="causal-lm")
    assert distiller.pieces is not None
    assert distiller.wanted == (OUTPUT,)
    terms, _ = losses_and_gradients(distiller, inputs, labels)
    distiller.compare_whole()
    plain, _ = losses_and_gradients(distiller, inputs, labels)
    assert terms["soft"].item() == pytest.approx(plain["soft"].item(), rel=1e-9)


def test_a_peer_that_asks_for_the_output_gets_it() -> None:
    inputs, labels = batch()
    teacher, student = models()
    distiller = ll.Distiller(teacher, student, soft=ll.Soft(temperature=1), example=inputs, task="causal-lm")
    studied = distiller.study(inputs, also=[OUTPUT])
    assert studied.logits is not None
    losses = distiller(inputs, labels, studied=studied)
    assert losses.logits is not None
    assert losses.terms["soft"].item() == pytest.approx(distiller(inputs, labels).terms["soft"].item(), rel=1e-9)


def test_labels_of_another_shape_are_told() -> None:
    inputs, labels = batch()
    teacher, student = models()
    distiller = ll.Distiller(teacher, student, example=inputs, task="causal-lm")
    with pytest.raises(ll.UsageError, match=r"needs labels \(3, 11\), the tokens themselves; got \(3, 10\)"):
        distiller(inputs, labels[:, 1:])


def test_whatever_somebody_else_asks_for_is_read_too() -> None:
    inputs, _ = batch()
    teacher, student = models()
    pieces = ll.Distiller(teacher, student, example=inputs, task="causal-lm").pieces
    assert pieces is not None
    body = ll.Tap("body")
    for of_pieces, asked, wanted in (
        (None, [OUTPUT, body], (OUTPUT, body)),
        (pieces, [body], (pieces.student.tap, body)),
        (pieces, [body, OUTPUT], (OUTPUT, body)),
    ):
        assert read_of_student(of_pieces, iter([OUTPUT]), iter(asked)) == wanted
