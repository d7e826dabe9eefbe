"""Compiled passes: what taps read, gradients and buffers are those of an eager pass, and what cannot be is eager."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from capturing import capturing
from layerlink.models import build_model
from layerlink.models.tiny_maps import use_tiny_map_convolutions
from layerlink.optional import torch_release
from layerlink.taps import OUTPUT, Observed, Tap, program
from layerlink.taps.observed import Precision, arithmetic
from layerlink.taps.program import Compiling

ROWS = 4
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "vgg": (
        lambda: build_model("vgg7", num_classes=10, image_size=32, width=0.05, batch_norm=True),
        ("group2", "group3@input"),
    ),
    "resnet": (lambda: build_model("resnet8", num_classes=10, image_size=32), ("conv1", "layer1", "layer2.0@input")),
}


class Overwriting(nn.Module):
    """Its layer's value is overwritten by the next one; dropout, a tuple, and a layer that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.drop = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Dropout(0.5)
        self.twice, self.head = nn.Conv2d(4, 4, 3, padding=1), Two()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.relu(self.first(x))
        x = self.twice(self.drop(self.twice(x)))
        scores, _ = self.head(x.mean((2, 3)))
        return {"logits": scores}


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.linear(x), x * 2


class Reading(nn.Module):
    """Reads a value of its own: no program can."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        scores: Tensor = self.head(x if x.sum().item() > 0 else -x)
        return scores


MODELS["overwriting"] = (Overwriting, ("first", "twice#0", "twice#1", "head[1]"))


@pytest.fixture(autouse=True)
def _captured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with capturing(monkeypatch):
        yield


def pair(name: str, precision: Precision = "float32") -> tuple[Observed, Observed, list[Tap], Tensor]:
    """A model read eagerly, its copy to be compiled, taps, and a batch."""
    torch.manual_seed(0)
    make, taps = MODELS[name]
    model = make()
    run_as = partial(arithmetic, torch.device("cpu"), precision)
    eager, other = (Observed(it, "student", arithmetic=run_as) for it in (model, copy.deepcopy(model)))
    return eager, other, [*map(Tap.parse, taps), OUTPUT], torch.randn(ROWS, 3, 32, 32)


def step(observed: Observed, batch: Tensor, taps: list[Tap]) -> dict[str, Tensor | None]:
    """What a step gives: values, gradients, buffers."""
    torch.manual_seed(7)
    observed.model.zero_grad()
    given = observed.read(batch.clone(), taps, glance=True)
    assert not given.problems
    torch.stack([given.values[tap].float().square().mean() for tap in taps]).sum().backward()  # type: ignore[no-untyped-call]
    values: dict[str, Tensor | None] = {f"value of {tap}": given.values[tap].detach().clone() for tap in taps}
    values |= {f"gradient of {name}": it.grad for name, it in observed.model.named_parameters()}
    return {**values, **{f"buffer {name}": it.clone() for name, it in observed.model.named_buffers()}}


def differing(first: dict[str, Tensor | None], second: dict[str, Tensor | None], off: float = 0.0) -> list[str]:
    """Names of what differs, relatively to its largest number."""
    assert first.keys() == second.keys()
    found = []
    for name, value in first.items():
        other = second[name]
        if value is None or other is None:
            found += [] if value is other else [name]
        elif float((value - other).abs().max()) > off * float(value.abs().max()):
            found.append(name)
    return found


def distance(first: Tensor | None, second: Tensor | None) -> float:
    assert first is not None
    assert second is not None
    return float((first.float() - second.float()).norm())


@pytest.mark.parametrize("name", MODELS)
def test_a_compiled_step_gives_what_an_eager_one_does_bit_by_bit(name: str) -> None:
    eager, other, taps, batch = pair(name)
    names = list(other.model.state_dict())
    for observed in (eager, other):
        step(observed, batch, taps)
    if torch_release() < (2, 11) and any(tap.side == "input" for tap in taps):
        pytest.skip("older ones guard the numbers of hooks that read inputs, and compile every such pass anew")
    compiled = other.compile(taps, Compiling(ROWS))
    for asked in (taps, taps, taps[:1], taps):  # of fewer taps the layers above give no gradient, not one of 0
        batch = torch.randn_like(batch)
        assert differing(step(eager, batch, asked), step(other, batch, asked)) == []
    assert not compiled.failure
    assert len(compiled._programs) == 2
    assert list(other.model.state_dict()) == names
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in other.model.modules())


def test_another_batch_size_evaluation_and_unknown_taps_are_run_eagerly() -> None:
    eager, other, taps, batch = pair("resnet")
    for observed in (eager, other):
        step(observed, batch, taps)
    compiled = other.compile(taps, Compiling(ROWS))
    assert differing(step(eager, batch[:3], taps), step(other, batch[:3], taps)) == []
    assert differing(step(eager, batch, [Tap.parse("layer3")]), step(other, batch, [Tap.parse("layer3")])) == []
    with torch.no_grad():
        other.read(batch, taps)
    other.model.eval()
    other.read(batch, taps)
    assert not compiled._programs
    assert not compiled.failure


def test_a_model_that_cannot_be_captured_is_run_eagerly_and_that_is_told() -> None:
    model, told = Reading(), list[str]()
    observed, taps, batch = Observed(model, "teacher"), [Tap.parse("body"), OUTPUT], torch.randn(ROWS, 6)
    before = observed.read(batch, taps)
    observed.compile(taps, Compiling(ROWS, tell=told.append))
    for _ in range(2):
        given = observed.read(batch, taps)
        assert torch.equal(given.values[taps[0]], before.values[taps[0]])
        assert torch.equal(given.values[OUTPUT], before.values[OUTPUT])
    (text,) = told
    assert text.startswith("compile: the teacher is run eagerly, for torch cannot compile it: ")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (
            "backend='inductor' raised:\nDeprecationWarning: it is old.\n\nSet TORCH_LOGS",
            "DeprecationWarning: it is old.",
        ),
        ("backend='inductor' raised:\nInvalidCxxCompiler: No working C++ compiler", "InvalidCxxCompiler: No working"),
        ("call to unknown\n  Explanation: none\nValueError: no", "ValueError: no"),
        ("backend='x' raised:", "backend='x' raised:"),
        ("", ""),
    ],
)
def test_the_reason_is_the_line_that_says_something(said: str, cause: str) -> None:
    assert program.reason(RuntimeError(said)).startswith(f"RuntimeError: {cause}")


def test_an_error_of_the_model_itself_is_its_own() -> None:
    class Refusing(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                return super().forward(x)
            raise ValueError("not today")

    model = Refusing(6, 3)
    observed = Observed(model)
    observed.read(torch.randn(ROWS, 6), [OUTPUT])
    told: list[str] = []
    observed.compile([OUTPUT], Compiling(ROWS, tell=told.append))
    observed.read(torch.randn(ROWS, 6), [OUTPUT])
    model.eval()
    with pytest.raises(ValueError, match="not today"):
        observed.read(torch.randn(ROWS, 6), [OUTPUT])
    assert not told


def test_a_teacher_that_gives_no_output_computes_nothing_above_its_deepest_tap(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[str]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        def inner(inside: torch.fx.GraphModule, _inputs: list[Tensor]) -> object:
            made.append([str(node.target) for node in inside.graph.nodes if node.op == "call_function"])
            return inside

        from torch._dynamo.backends.common import aot_autograd

        return aot_autograd(fw_compiler=inner)(graph, inputs)

    monkeypatch.setattr(program, "BACKEND", backend)
    _, observed, _, batch = pair("vgg")
    observed.model.eval()
    tap = Tap.parse("group2")
    with torch.no_grad():
        eager = observed.read(batch, [tap], stop_early=True).values[tap]
        observed.compile([tap], Compiling(ROWS))
        given = observed.read(batch, [tap], stop_early=True)
    assert torch.equal(given.values[tap], eager)
    assert given.output is None
    (names,) = made
    convolutions = sum(isinstance(it, nn.Conv2d) for it in observed.model.modules())
    assert 0 < sum("convolution" in name for name in names) < convolutions


def test_texts_of_many_lengths_share_a_program() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.layer, self.head = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            x = self.layer(self.words(input_ids)) * attention_mask[..., None]
            scores: Tensor = self.head(x.sum(1))
            return scores

    torch.manual_seed(0)
    observed, taps = Observed(Words(), "student"), [Tap.parse("layer"), OUTPUT]

    def texts(length: int) -> dict[str, Tensor]:
        return {"input_ids": torch.randint(0, 20, (ROWS, length)), "attention_mask": torch.ones(ROWS, length).long()}

    observed.read(texts(7), taps)
    compiled = observed.compile(taps, Compiling(ROWS, varying=True))
    for length in (7, 5, 11):
        batch = texts(length)
        given = observed.read(batch, taps).values
        observed.programs = None
        eager = observed.read(batch, taps).values
        observed.programs = compiled
        assert all(torch.equal(given[tap], eager[tap]) for tap in taps)
    assert len(compiled._programs) == 1
    assert not compiled.failure


def test_a_model_that_is_compiled_already_is_left_as_it_is() -> None:
    model = nn.Sequential(torch.compile(nn.Linear(6, 3), backend="eager"))
    observed = Observed(model)
    assert observed.compile([OUTPUT], Compiling(ROWS)).failure == "it is compiled already"
    assert observed.read(torch.randn(ROWS, 6), [OUTPUT]).values[OUTPUT].shape == (ROWS, 3)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # by its own compiler
@pytest.mark.parametrize(("precision", "off"), [("float32", 1e-4), ("bfloat16", 0.1)])
@pytest.mark.parametrize("name", MODELS)
def test_kernels_that_are_made_give_the_same_within_rounding(
    name: str, precision: Precision, off: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "BACKEND", "inductor")
    eager, other, taps, batch = pair(name, precision)
    exact_one = pair(name)[0]
    for observed in (eager, other, exact_one):
        step(observed, batch, taps)
    compiled = other.compile(taps, Compiling(ROWS))
    before, after = step(eager, batch, taps), step(other, batch, taps)
    if "C++ compiler" in compiled.failure:
        pytest.skip("there is no C++ compiler here")
    assert not compiled.failure
    far = differing(before, after, off)
    if precision == "bfloat16" and far:
        # Statistics of four rows make much of a rounding: what differs is hardly further from float32 than eagerly.
        exact = step(exact_one, batch, taps)
        far = [it for it in far if distance(after[it], exact[it]) > 1.5 * distance(before[it], exact[it])]
    assert far == []


def test_convolutions_over_tiny_maps_are_plain_ones_in_a_program() -> None:
    eager, other, taps, batch = pair("vgg")
    assert use_tiny_map_convolutions(other.model)
    for observed in (eager, other):
        step(observed, batch, taps)
    compiled = other.compile(taps, Compiling(ROWS))
    assert differing(step(eager, batch, taps), step(other, batch, taps), 1e-3) == []
    assert not compiled.failure
    assert len(compiled._programs) == 1
