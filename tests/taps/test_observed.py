from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layerlink.errors import UsageError
from layerlink.taps import OUTPUT, Activations, Observed, Tap, trace


class Heads(nn.Module):
    def __init__(self, key: str) -> None:
        super().__init__()
        self.body, self.head, self.key = nn.Linear(4, 4), nn.Linear(4, 3), key

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {self.key: self.head(self.body(x)), "loss": None}


X = torch.randn(2, 4)


def test_the_output_is_a_tap_like_any_other() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    given = Observed(model).read(X, [Tap("0"), Tap.parse("@output")])
    assert torch.equal(given.values[OUTPUT], model(X))
    assert torch.equal(given.values[Tap("0")], model[0](X))
    assert given.taps.keys() == {Tap("0")}
    assert given.logits is given.values[OUTPUT]


@pytest.mark.parametrize(("key", "output"), [("logits", ""), ("scores", "scores"), ("scores", "[scores]")])
def test_logits_are_found_or_named(key: str, output: str) -> None:
    model = Heads(key)
    assert torch.equal(Observed(model, output=output).logits(X), model.head(model.body(X)))


def test_an_output_without_logits_is_told_with_what_it_has() -> None:
    observed = Observed(Heads("scores"), "student")
    with pytest.raises(UsageError, match=r"output\[scores\], output\[loss\]\. Name the element .* student_logits="):
        observed.logits(X)
    assert OUTPUT in observed.read(X, [OUTPUT]).problems


def test_nothing_above_the_deepest_tap_is_run_unless_the_output_is_wanted() -> None:
    model, ran = Heads("logits"), []
    model.head.register_forward_hook(lambda *_: ran.append("head"))
    observed = Observed(model)
    assert observed.read(X, [Tap("body")], stop_early=True).logits is None
    assert ran == []
    observed.read(X, [Tap("body"), OUTPUT], stop_early=True)
    assert ran == ["head"]


def test_a_glance_at_the_output_has_no_gradient_and_edges_are_those_of_autograd() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    glanced = Observed(model).read(X, [Tap("0")], glance=True)
    assert glanced.logits is not None
    assert not glanced.logits.requires_grad
    given = Observed(model).read(X, [OUTPUT], edges=True)
    (gradient,) = torch.autograd.grad(given.values[OUTPUT].sum() * 3, [given.edges[OUTPUT]])
    assert torch.equal(gradient, torch.full((2, 3), 3.0))


def test_the_model_runs_in_its_arithmetic() -> None:
    inside = []

    @contextmanager
    def arithmetic() -> Iterator[None]:
        inside.append("in")
        yield
        inside.append("out")

    model = nn.Linear(4, 3)
    model.register_forward_hook(lambda *_: inside.append("ran"))
    Observed(model, arithmetic=arithmetic).logits(X)
    assert inside == ["in", "ran", "out"]


def test_a_trace_leaves_mode_buffers_and_random_numbers_as_they_were() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5)).train()
    before, state = model[0].running_mean.clone(), torch.get_rng_state()
    given = trace(Observed(model), [Tap("0"), OUTPUT], X, evaluate=True)
    assert torch.allclose(given.values[OUTPUT], X, atol=1e-4), "in eval mode both layers change next to nothing"
    assert model.training
    assert model[1].training
    assert torch.equal(model[0].running_mean, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_activations_as_people_make_them() -> None:
    given = Activations(X, {Tap("a"): X + 1})
    assert given.logits is X
    assert given.values.keys() == {OUTPUT, Tap("a")}
    assert repr(given) == "Activations(@output: (2, 4), a: (2, 4))"
    assert Activations(None).logits is None
