from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import layerlink as ll
from layerlink.design.propose.calls import trace_calls
from layerlink.design.propose.layers import Layers, layers_of
from layerlink.taps import Observed
from nets import Block, Wrapped, blocks, images, vgg


def layers(model: nn.Module, inputs: Any = None) -> Layers:
    given = images(4) if inputs is None else inputs
    return layers_of(model, trace_calls(Observed(model, "model"), given))


def names(found: Any) -> list[str]:
    return [str(layer) for layer in found]


def stages(model: nn.Module, inputs: Any = None) -> dict[str, list[str]]:
    return {stage.end.words: names(stage.steps) for stage in layers(model, inputs).stages}


def test_a_vggs_stages_end_with_its_groups() -> None:
    assert stages(vgg("vgg16")) == {
        "32x32": ["group1.0", "group1"],
        "16x16": ["group2.0", "group2"],
        "8x8": ["group3.0", "group3.1", "group3"],
        "4x4": ["group4.0", "group4.1", "group4"],
        "2x2": ["group5.0", "group5.1", "group5"],
        "vector": ["hidden1", "hidden"],
    }


def test_a_resnets_steps_are_its_blocks_by_their_outermost_names() -> None:
    found = stages(ll.build_model("resnet20", num_classes=10, image_size=32))
    assert found["32x32"] == ["layer1.0", "layer1.1", "layer1"]  # neither conv1 nor bn1, and nothing of a block
    assert found["8x8"] == ["layer3.0", "layer3.1", "layer3"]
    assert found["vector"] == ["pool"]


def test_what_a_block_calls_belongs_to_it_wherever_the_module_stands() -> None:
    found = layers(ll.build_model("resnet20", num_classes=10, image_size=32))  # preact1 is the model's own child
    assert not [name for name in names(found.layers) if name.startswith("preact")]


def test_the_strided_blocks_of_a_mobilenet_are_not_opened() -> None:
    found = layers(ll.build_model("mobilenet_v2", num_classes=10, image_size=32))
    ends = {stage.end.words: str(stage.steps[-1]) for stage in found.stages}
    assert (ends["16x16"], ends["8x8"], ends["4x4"]) == ("layer1", "layer2", "layer3")


def test_of_one_tensor_the_outermost_name_is_kept_and_the_others_are_counted() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten(), nn.Linear(3600, 10))
    found = layers(plain)
    assert names(found.layers) == ["0", "1", "3"]  # the convolution's own value is another than that of the ReLU on it
    assert [layer.same for layer in found.layers] == [0, 1, 0]
    wrapped = layers(nn.Sequential(*map(Wrapped, plain)))
    assert names(wrapped.layers) == ["0", "1", "3"]
    assert [layer.same for layer in wrapped.layers] == [1, 3, 1]


def test_the_output_is_no_layer_and_wrapping_the_model_changes_no_stage() -> None:
    model = vgg("vgg7")
    inner, outer = stages(model), stages(Wrapped(model))
    assert outer == {size: [f"within.{name}" for name in steps] for size, steps in inner.items()}
    assert "output" not in names(layers(model).layers)


def test_the_last_block_counts_though_it_is_the_models_output() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Block(4), Block(4))
    assert stages(model) == {"32x32": ["1", "2"]}


def test_a_layer_that_runs_twice_is_named_by_its_calls() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.act, self.out = nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.out(self.act(self.one(self.act(self.one(x)))))
            return out

    assert names(layers(Twice(), torch.randn(4, 6)).layers) == ["one#0", "act#0", "one#1", "act#1"]


def test_elements_of_tuples_and_mappings_are_read() -> None:
    class Gives(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return {"ids": x.long(), "pair": (x * 2, x.mean())}

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gives, self.out = Gives(), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.out(self.gives(x)["pair"][0].mean(1))
            return out

    (layer,) = layers(Model(), torch.randn(4, 5, 8)).layers
    assert (str(layer), layer.shape, layer.kind, layer.words) == ("gives[pair][0]", (5, 8), "sequence", "5 tokens")


def test_deep_stages_and_channels_last() -> None:
    assert stages(blocks(3), images(4, 8))["8x8"] == ["1.0", "1.1", "1"]

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.out = nn.Linear(3, 5), nn.Linear(5, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.out(self.body(x.movedim(1, -1)).mean((1, 2)))
            return out

    (layer,) = layers(Last(), images(4, 8)).layers
    assert (layer.shape, layer.size, layer.kind) == ((8, 8, 5), (8, 8), "map")


def test_a_stem_of_the_parts_that_blocks_are_made_of_is_no_block() -> None:
    def part() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = part()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.conv(x)
            return out

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = Part(), Part()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = x + self.two(self.one(x))
            return out

    model = nn.Sequential(Part(), Wide(), Wide(), Wide(), nn.Flatten(), nn.Linear(256, 2))
    found = layers(model, images(4, 8, channels=4)).layers
    assert [(str(layer), layer.block) for layer in found] == [
        *[("0", False), ("1", True), ("2", True), ("3", True), ("4", False)]
    ]


def test_transformers_give_their_blocks() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, vocab_size=50
    )
    model = transformers.BertForSequenceClassification(config)
    ids = torch.randint(0, 50, (4, 12))
    found = stages(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert found["12 tokens"] == [f"bert.encoder.layer.{place}" for place in range(4)]
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 3)
    assert stages(encoder, torch.randn(4, 7, 16)) == {"7 tokens": ["layers.0", "layers.1", "layers.2"]}
