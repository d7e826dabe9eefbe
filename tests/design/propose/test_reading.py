from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layerlink.design.propose import reading
from layerlink.design.propose.batches import few
from layerlink.design.propose.calls import trace_calls
from layerlink.design.propose.layers import layers_of
from layerlink.design.propose.reading import Health, Reader
from layerlink.errors import UsageError
from layerlink.measure.cka import centred_gram
from layerlink.taps import Observed
from nets import blocks, images


def reader(model: nn.Module, inputs: Tensor) -> Reader:
    observed = Observed(model, "teacher")
    return Reader(observed, layers_of(model, trace_calls(observed, few(inputs))))


def test_a_gram_matrix_a_layer_of_what_it_gives() -> None:
    model, x = blocks(2).eval(), images(6, 8)
    grams = reader(model, x).grams(x)
    with torch.no_grad():
        stem = model[0](x)
        expected = [stem, model[1][0](stem), model[1](stem), model[1](stem).flatten(1)]
    assert len(grams) == 4
    for gram, value in zip(grams, expected, strict=True):
        torch.testing.assert_close(gram, centred_gram(value))


def test_little_memory_makes_more_passes_and_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = blocks(3), images(6, 8)
    whole = reader(model, x).grams(x)
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    monkeypatch.setattr(reading, "MEMORY", 1)
    for gram, other in zip(reader(model, x).grams(x), whole, strict=True):
        assert torch.equal(gram, other)
    assert len(passes) == 1 + len(whole)  # one to look, one a layer


def test_health_is_the_best_that_any_batch_showed() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(4))
        model[0].bias.zero_()
    x = torch.tensor([[1.0, -1, -1, -1], [2, -1, -1, -1], [3, -1, -1, -1], [4, -2, -1, -1]])
    known = reader(model, x)
    known.grams(x)
    assert known.health[1].alive == pytest.approx(0.25)
    assert not known.health[1].trouble
    known.grams(-x)
    assert known.health[1].alive == pytest.approx(0.75)
    assert known.health[0].spread > 0.1


def test_troubles_in_words() -> None:
    assert Health(0.02, 1.0, True).trouble == "dead (98 % of its values are always 0)"
    assert Health(1.0, 1e-8, True).trouble == "constant (the same for all images)"
    assert Health(1.0, 0.5, False).trouble == "not finite"
    assert Health(0.5, 0.5, True).trouble == ""


def test_a_layer_that_is_not_run_again_is_told() -> None:
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.out = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = self.one(x)
            out: Tensor = self.out(self.two(h) if float(x[0, 0]) > 0 else h)
            return out

    known = reader(Sometimes(), torch.ones(4, 3))
    with pytest.raises(UsageError, match=r"^the teacher's layer 'two' never runs .*give batches that are alike$"):
        known.grams(-torch.ones(4, 3))
