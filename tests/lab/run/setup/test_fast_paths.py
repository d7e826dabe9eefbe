from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from layerlink.lab.run.setup.fast_paths import keep_cast_weights, make_fast
from layerlink.models import build_model


@pytest.mark.parametrize("batch_norm", [True, False])
def test_cast_weights_give_the_bits_that_autocast_gives(batch_norm: bool) -> None:
    teacher = build_model("vgg16", num_classes=10, image_size=32, width=0.1, batch_norm=batch_norm)
    teacher.eval().requires_grad_(False)
    images = torch.randn(4, 3, 32, 32)
    make_fast(teacher, torch.device("cpu"), frozen=True)
    cast = copy.deepcopy(teacher)
    keep_cast_weights(cast, "float32", images)
    assert all(parameter.dtype == torch.float32 for parameter in cast.parameters())
    keep_cast_weights(cast, "bfloat16", images)
    kinds = {type(module).__name__: module.weight.dtype for module in cast.modules() if hasattr(module, "weight")}
    expected = {"TinyMapConv2d": torch.bfloat16, "Linear": torch.bfloat16}
    assert kinds == expected | ({"BatchNorm2d": torch.float32} if batch_norm else {})
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cast(images), teacher(images))


class Tied(nn.Module):
    """An output layer that shares its weight with an embedding, and one that computes with its weight in float32."""

    class Unit(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, nn.functional.normalize(self.weight, dim=1), self.bias)

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.unit = self.Unit(8, 8)
        self.plain = nn.Linear(8, 8, bias=False)
        self.output = nn.Linear(8, 11)
        self.output.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        output: Tensor = self.output(self.plain(self.unit(self.words(x))))
        return output


def test_shared_weights_and_layers_of_ones_own_stay_as_they_are() -> None:
    model = Tied().requires_grad_(False)
    words = torch.arange(11).view(1, 11)
    with torch.autocast("cpu", torch.bfloat16):
        before = model(words)
        keep_cast_weights(model, "bfloat16", words)
        assert torch.equal(model(words), before)
    assert model.words.weight is model.output.weight
    assert {name: parameter.dtype == torch.bfloat16 for name, parameter in model.named_parameters()} == {
        "words.weight": False,
        "unit.weight": False,
        "unit.bias": False,
        "plain.weight": True,
        "output.bias": False,
    }


class Island(nn.Module):
    """A head that computes in float32 by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.body(x)
        with torch.autocast("cpu", enabled=False):
            output: Tensor = self.head(x.float())
        return output


class Cosine(Island):
    """A head that reads another layer's weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return 30 * nn.functional.linear(self.body(x), nn.functional.normalize(self.head.weight, dim=1))


@pytest.mark.parametrize("kind", [Island, Cosine])
def test_a_model_whose_answers_would_change_keeps_its_weights(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = kind().requires_grad_(False), torch.randn(64, 8)
    before = copy.deepcopy(model.state_dict())
    keep_cast_weights(model, "bfloat16", x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())
