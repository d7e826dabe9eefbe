from __future__ import annotations

import contextlib
import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foreign import Dataclassed, Foreign, Halves, Pair, images
from layerlink.errors import LayerlinkError
from layerlink.taps import Recorder, Tap
from layerlink.taps.randomness import seeded


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def record(model: nn.Module, inputs: Any, *taps: str) -> dict[str, Tensor]:
    recording = Recorder(model, "student").record(inputs, map(Tap.parse, taps))
    assert not recording.problems
    return {str(tap): value for tap, value in recording.values.items()}


def problems(model: nn.Module, inputs: Any, *taps: str) -> dict[str, str]:
    recording = Recorder(model, "student").record(inputs, map(Tap.parse, taps))
    return {str(tap): what for tap, what in recording.problems.items()}


def test_a_tap_sees_the_value_before_the_next_layer_overwrites_it() -> None:
    model, x = Foreign().eval(), images()
    recorder = Recorder(model, "student")
    stem = model.relu(model.norm(model.stem(x)))
    expected = {
        "norm": model.norm(model.stem(x)),
        "left": model.left(stem),
        "right.deep-path": model.right["deep-path"](stem),
    }
    for _ in range(3):  # the copies must not be dropped after a first look
        values = recorder.record(x, [Tap("left"), Tap("right.deep-path"), Tap("norm")]).values
        for name, value in expected.items():
            assert bool((value < 0).any()), "the ReLU must have something to destroy"
            assert torch.equal(values[Tap(name)], value)


def test_untouched_values_are_not_copied_once_that_is_known() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    recorder = Recorder(model, "student")
    seen: list[Tensor] = []
    model[0].register_forward_hook(lambda _m, _a, output: seen.append(output))
    first, second = recorder.record(torch.zeros(1, 3), [Tap("0")]), recorder.record(torch.zeros(1, 3), [Tap("0")])
    assert first.values[Tap("0")] is not seen[0]
    assert second.values[Tap("0")] is seen[1]


class Sometimes(nn.Module):
    """Overwrites a layer's value in some passes; draws and counts as it goes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.drop = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)
        self.inplace = False

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(self.drop(self.norm(x)) + random.random() + float(np.random.rand()))
        return y.mul_(0) if self.inplace else y * 0


def test_an_overwrite_that_comes_later_repeats_the_pass_as_if_it_had_been_copied_from_the_start() -> None:
    torch.manual_seed(0)
    model, x = Sometimes(), torch.randn(4, 3)
    other = copy.deepcopy(model)
    found = []
    for which, recorder in ((model, Recorder(model, "student")), (other, None)):
        with seeded(3):
            for inplace in (False, True, True, False):
                which.inplace = inplace
                recorded = (recorder or Recorder(which, "student")).record(x, [Tap("layer")])  # a new one copies
                found.append((recorded.values[Tap("layer")], which.norm.running_mean.clone()))
            found.append((torch.tensor(random.random()), torch.tensor(np.random.rand())))
    for own, expected in zip(found[:5], found[5:], strict=True):
        assert torch.equal(own[0], expected[0])
        assert torch.equal(own[1], expected[1])


def test_an_overwrite_that_comes_later_is_an_error_where_the_pass_cannot_be_made_again() -> None:
    model, x = Sometimes(), torch.randn(4, 3)
    alone = Recorder(model, "student")
    alone.repeats = False  # as where other processes would have to repeat it as well
    alone.record(x, [Tap("layer")])
    model.inplace = True
    with pytest.raises(LayerlinkError) as caught:
        alone.record(x, [Tap("layer")])
    assert str(caught.value) == (
        "the student's layer 'layer' was overwritten in place in this pass, though in none before; its value is lost. "
        "Repeat the step: from now on it is copied"
    )
    for inplace in (True, False, True):  # for good
        model.inplace = inplace
        alone.record(x, [Tap("layer")])


def test_values_that_are_overwritten_together_are_copied_together_and_inputs_stay() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.inplace, self.passes = nn.Linear(3, 3), nn.Linear(3, 3), False, 0

        def forward(self, x: Tensor) -> Tensor:
            self.passes += 1
            y, z = self.one(x.add_(1) if self.inplace else x + 1), self.two(x)
            return y.mul_(0) + z.mul_(0) if self.inplace else y + z

    model, taps = Two(), [Tap("one"), Tap("two")]
    recorder, x = Recorder(model, "student"), torch.randn(2, 3)
    for inplace in (False, False, True, False, True):
        model.inplace = inplace
        values = recorder.record(x.clone(), taps).values
        assert torch.equal(values[taps[0]], model.one(x + 1))
        assert torch.equal(values[taps[1]], model.two(x + 1 if inplace else x))
    assert model.passes == 6  # one of them twice


def test_gradients_flow_through_a_copied_value() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True))
    x = torch.randn(2, 3)
    record(model, x, "0")["0"].sum().backward()
    assert torch.allclose(model[0].weight.grad, x.sum(dim=0).expand(3, 3))


def test_calls_of_a_reused_module_are_told_apart() -> None:
    model, x = Foreign().eval(), images()
    values = record(model, x, "relu#0", "relu#2")
    assert torch.equal(values["relu#0"], torch.relu(model.norm(model.stem(x))))
    assert torch.equal(values["relu#2"].mean(dim=(2, 3)), model(x)["features"][1])


def test_a_reused_module_without_a_call_is_named() -> None:
    assert problems(Foreign(), images(), "relu") == {
        "relu": "the student's layer 'relu' runs 3 times in one pass. Say which run: relu#0, relu#1, relu#2"
    }


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (2, "act@input#0[0], act@input#1[0]"),
        (4, "act@input#0[0], act@input#1[0], act@input#2[0], act@input#3[0]"),
        (5, "act@input#0[0], act@input#1[0], act@input#2[0], act@input#3[0], ..."),
    ],
)
def test_four_runs_of_a_reused_module_are_listed_at_most(times: int, said: str) -> None:
    class Repeats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(times):
                x = self.act(x)
            return x

    found = problems(Repeats(), torch.zeros(1, 3), f"act#{times}")
    assert found == {f"act#{times}": f"the student's layer 'act#{times}' runs only {times} times in a forward pass"}
    assert problems(Repeats(), torch.zeros(1, 3), "act@input[0]") == {
        "act@input[0]": f"the student's layer 'act@input[0]' runs {times} times in one pass. Say which run: {said}"
    }


def test_a_layer_that_never_runs_or_not_so_often_is_named() -> None:
    found = problems(Foreign(), images(), "unused", "relu#3", "stem", "left#1")
    assert found == {
        "unused": "the student's layer 'unused' never runs in a forward pass",
        "relu#3": "the student's layer 'relu#3' runs only 3 times in a forward pass",
        "left#1": "the student's layer 'left#1' runs only 1 time in a forward pass",
    }


def test_a_layer_that_is_not_there_is_named_with_its_model() -> None:
    assert problems(Pair(), torch.randn(2, 4), "nope") == {
        "nope": "the student has no layer 'nope'. It has split, split.mix, head. All of them: layerlink layers MODEL"
    }


def test_the_input_of_a_module_that_gets_none_is_named() -> None:
    class Gives(nn.Module):
        def forward(self) -> Tensor:
            return torch.zeros(1, 3)

    assert problems(nn.Sequential(), torch.zeros(1), "@input[mask]") == {
        "@input[mask]": "student: @input has no element 'mask'; it gives a dict with @input[0]"
    }
    assert problems(Gives(), (), "@input") == {
        "@input": "student: @input has no element '0'; it gives a dict with nothing in it"
    }


def test_places_in_the_graph_are_kept_only_where_asked_for_and_where_there_are_any() -> None:
    model, x, taps = nn.Sequential(nn.Linear(3, 3)), torch.zeros(1, 3), [Tap("0"), Tap("0", "input")]
    assert Recorder(model, "student").record(x, taps).edges == {}
    recording = Recorder(model, "student").record(x, taps, edges=True)
    (gradient,) = torch.autograd.grad(recording.output.sum(), [recording.edges.pop(Tap("0"))])
    assert gradient.tolist() == [[1, 1, 1]]
    assert recording.edges == {}  # an input has no place


def test_inputs_and_elements() -> None:
    model, x = Pair(), torch.randn(2, 4)
    values = record(model, x, "split[1]", "head@input", "split@input[0]", "[1]")
    assert torch.equal(values["split[1]"], x[:, 2:])
    assert torch.equal(values["head@input"], x[:, :2])
    assert torch.equal(values["split@input[0]"], x)
    assert torch.equal(values["[1]"], x[:, 2:])


def test_keyword_inputs_and_dataclasses() -> None:
    model, x = Dataclassed(), torch.randn(2, 4)
    values = record(model, {"values": x, "scale": 2.0}, "[hidden_states][1]", "@input[values]")
    assert torch.equal(values["[hidden_states][1]"], model.layer(x * 2))
    assert torch.equal(values["@input[values]"], x)


def test_a_tuple_without_an_element_is_named() -> None:
    assert problems(Pair(), torch.randn(2, 4), "split") == {
        "split": "student: split gives a tuple with split[0], split[1]. Name the element to read"
    }


def test_hooks_are_gone_after_a_pass_whatever_happened() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.layer(x)
            raise RuntimeError("broken")

    model = Broken()
    recorder = Recorder(model, "student")
    with pytest.raises(RuntimeError, match="broken"):
        recorder.record(torch.zeros(1, 3), [Tap("layer"), Tap("layer", "input")])
    assert hooks_of(model) == 0
    recorder.record(torch.zeros(1, 3), [Tap("layer"), Tap("layer", "input")], stop_early=True)
    assert hooks_of(model) == 0


def test_stopping_early_computes_nothing_above_the_deepest_tap() -> None:
    ran: list[str] = []
    model = Foreign().eval()
    for name, module in model.named_children():
        module.register_forward_hook(lambda _m, _a, _o, name=name: ran.append(name))
    recording = Recorder(model, "teacher").record(images(), [Tap("left"), Tap("norm")], stop_early=True)
    assert set(recording.values) == {Tap("left"), Tap("norm")}
    assert recording.output is None
    assert ran == ["stem", "norm", "relu", "left"]


def test_a_signal_passes_through_a_model_that_swallows_exceptions() -> None:
    class Swallows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.top = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            with contextlib.suppress(Exception):
                self.layer(x)
            raise AssertionError("computed beyond the tap")

    recording = Recorder(Swallows(), "teacher").record(torch.zeros(1, 3), [Tap("layer")], stop_early=True)
    assert set(recording.values) == {Tap("layer")}


def test_inference_mode_copies() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True))
    x = torch.randn(4, 3)
    recorder = Recorder(model, "teacher")
    with torch.inference_mode():
        expected = x @ model[0].weight.T + model[0].bias
        for _ in range(2):
            assert torch.allclose(recorder.record(x, [Tap("0")]).values[Tap("0")], expected)


def test_halves_is_what_the_tests_think() -> None:
    first, second = Halves()(torch.arange(4.0)[None])
    assert first.tolist() == [[0, 1]]
    assert second.tolist() == [[2, 3]]
