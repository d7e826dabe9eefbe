"""Layers as timm and torchvision have them, written by hand: what their source keeps, in training too."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import layerlink as ll
from foreign_zoo import zoo_model
from layerlink.design.shrink.source.torch_layers import arguments_of


class NormAct(nn.BatchNorm2d):
    """A batch norm with its activation, a class of its own; it counts and averages in training."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        mean, var = self.running_mean, self.running_var
        x = F.batch_norm(x, mean, var, self.weight, self.bias, self.training, 0.1, self.eps)
        return self.act(x)  # type: ignore[no-any-return]


class Attending(nn.Module):
    """Takes a flag behind what may be left out, as a block of a transformer does."""

    def forward(self, x: Tensor, mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        return x.cumsum(3) if is_causal else x * 2


class Dropped(nn.Module):
    """A residual block that is left out for some examples while it learns, drawn by torch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False), NormAct(channels)
        self.two, self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False), NormAct(channels)
        self.attending = Attending()

    def left_out(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(0.5) * 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.attending(self.second(self.two(self.first(self.one(x)))), mask=None, is_causal=False)
        return x + self.left_out(y)


class PythonDrawn(Dropped):
    """Left out by Python's own generator, which no graph holds."""

    def left_out(self, x: Tensor) -> Tensor:
        return x * 0 if self.training and random.random() < 0.5 else x


def net(block: type[Dropped]) -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels, after in ((6, 8), (8, 10)):
        layers += [nn.Sequential(*(block(channels) for _ in range(3))), nn.Conv2d(channels, after, 1), NormAct(after)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(10, 3))
    for it in model.modules():
        if isinstance(it, NormAct) and it.running_mean is not None and it.running_var is not None:
            it.running_mean.normal_(0, 0.1)
            it.running_var.uniform_(0.5, 1.5)
    return model.eval()


def images(count: int) -> Tensor:
    return torch.randn(count, 6, 8, 8, generator=torch.Generator().manual_seed(count))


def built(source: str) -> nn.Module:
    names: dict[str, Any] = {}
    exec(source, names)
    return names["build"]()  # type: ignore[no-any-return]


def both_in_training(one: nn.Module, other: nn.Module, given: Tensor) -> list[Tensor]:
    found = []
    for it in (one, other):
        torch.manual_seed(3)
        found.append(it.train()(given))
    return found


def test_norms_of_somebodys_own_go_on_averaging() -> None:
    teacher = net(Dropped)
    before = {name: it.clone() for name, it in teacher.state_dict().items()}
    shrunk = ll.shrink(teacher, images(4), params=0.37)
    assert all(torch.equal(it, teacher.state_dict()[name]) for name, it in before.items())
    kept = shrunk.model.state_dict()
    for name in ("0.0.first.running_mean", "0.0.first.running_var", "0.0.first.num_batches_tracked"):
        assert torch.equal(kept[name], before[name])  # that its source was recorded has changed nothing
    assert shrunk.notes == ()
    student = built(shrunk.source)
    student.load_state_dict(kept)
    assert torch.equal(student.eval()(images(3)), shrunk.model.eval()(images(3)))
    torch.testing.assert_close(*both_in_training(student, shrunk.model, images(5)))
    for name, it in student.state_dict().items():
        torch.testing.assert_close(it, shrunk.model.state_dict()[name])
    assert not torch.equal(student.state_dict()["0.0.first.running_mean"], before["0.0.first.running_mean"])


def test_what_norms_remember_is_a_tensor_each_and_begins_as_torchs_does() -> None:
    student = built(ll.shrink(net(Dropped), images(4), params=0.37).source)
    norms = [it for it in student.modules() if hasattr(it, "running_var")]
    assert len(norms) > 3
    places = [it.data_ptr() for norm in norms for it in (norm.running_mean, norm.running_var)]  # type: ignore[union-attr]
    assert len(set(places)) == len(places)
    assert all(bool((it.running_var == 1).all()) and not it.running_mean.any() for it in norms)  # type: ignore[union-attr, operator]


def test_what_python_draws_in_training_is_left_out_and_told() -> None:
    shrunk = ll.shrink(net(PythonDrawn), images(4), params=0.37)
    assert "# In training the original does something else here" in shrunk.source
    assert any("in training alone" in note for note in shrunk.notes)


@pytest.mark.parametrize(
    "layer",
    [nn.AdaptiveAvgPool2d((1, 1)), nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((1, 2)), nn.MaxPool2d((3, 3), (2, 2))],
)
def test_arguments_make_the_same_layer(layer: nn.Module) -> None:
    given = arguments_of(layer)
    assert given is not None
    assert type(layer)(**given).extra_repr() == layer.extra_repr()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # those of other people's packages
@pytest.mark.parametrize("start", ["fit", "copy"])
@pytest.mark.parametrize(
    ("name", "size", "budget"),
    [
        ("timm:resnet18", 64, {"params": 0.5}),
        ("timm:mobilenetv3_small_100", 64, {"flops": 0.5}),
        ("timm:efficientnet_b0", 64, {"params": 0.6}),
        ("timm:convnext_atto", 64, {"params": 0.5}),
        ("timm:vit_tiny_patch16_224", 224, {"params": 0.5}),
        ("torchvision:resnet18", 64, {"params": 0.5}),
        ("torchvision:mobilenet_v2", 64, {"params": 0.5}),
    ],
)
def test_models_of_timm_and_torchvision(name: str, size: int, budget: dict[str, float], start: str) -> None:
    teacher = zoo_model(name)
    torch.manual_seed(1)
    shrunk = ll.shrink(teacher, torch.randn(4, 3, size, size), start=start, **budget)  # type: ignore[arg-type]
    ((kind, share),) = budget.items()
    assert abs(shrunk.shares[kind] / share - 1) <= 0.1
    student = built(shrunk.source)
    student.load_state_dict(shrunk.model.state_dict())
    given = torch.randn(3, 3, size, size)
    with torch.no_grad():
        wanted = shrunk.model(given)
        assert float((student.eval()(given) - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())
    assert "timm" not in shrunk.source
    assert "import torchvision" not in shrunk.source
