"""Layers that round in training, against torch's own fake quantisation."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.models.rounded import round_in_training, round_no_more, rounded_values, rounded_weight
from layerlink.models.tiny_maps import use_tiny_map_convolutions


def torchs_weight(weight: Tensor) -> Tensor:
    scale = weight.detach().flatten(1).abs().amax(1) / 127
    return torch.fake_quantize_per_channel_affine(
        weight, scale, torch.zeros(len(weight), dtype=torch.int32), 0, -127, 127
    )


def torchs_values(values: Tensor) -> Tensor:
    low, high = min(float(values.detach().min()), 0.0), max(float(values.detach().max()), 0.0)
    scale = (high - low) / 255
    return torch.fake_quantize_per_tensor_affine(values, scale, round(-low / scale), 0, 255)


@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (6, 1, 3, 3), (5, 7), (4, 3, 5)])
def test_weights_have_the_levels_of_int8_files(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = rounded_weight(weight)
    torch.testing.assert_close(found, torchs_weight(weight), rtol=1e-6, atol=1e-7)
    steps = weight.flatten(1).abs().amax(1) / 127
    levels = found.flatten(1) / steps[:, None]
    assert float((levels - levels.round()).abs().max()) < 1e-4
    assert float(levels.abs().max()) <= 127 + 1e-4


@pytest.mark.parametrize("shift", [0.0, 1.0, 40.0, -40.0])
def test_values_have_256_levels_with_0_among_them(shift: float) -> None:
    values = torch.randn(64, 9, generator=torch.Generator().manual_seed(1)) * 3 + shift
    found = rounded_values(values)
    torch.testing.assert_close(found, torchs_values(values), rtol=1e-6, atol=1e-6)
    assert len(found.unique()) <= 256
    assert float(rounded_values(torch.cat((values.flatten(), torch.zeros(1))))[-1]) == 0


def test_gradients_pass() -> None:
    for rounded, shape in ((rounded_values, (4, 5)), (rounded_weight, (4, 5))):
        values = torch.randn(shape, requires_grad=True)
        given = torch.randn(shape)
        rounded(values).backward(given)
        assert values.grad is not None
        assert torch.equal(values.grad, given)


@pytest.mark.parametrize("values", [torch.zeros(3), torch.full((3,), 2.0), torch.full((3,), -2.0), torch.empty(0, 3)])
def test_one_value_stays(values: Tensor) -> None:
    assert torch.equal(rounded_values(values), values)
    assert torch.equal(
        rounded_weight(values[None]) if values.numel() else values, values[None] if values.numel() else values
    )


def test_what_is_no_number_stays_none() -> None:
    assert bool(rounded_values(torch.tensor([1.0, float("nan")])).isnan().all())
    assert bool(rounded_weight(torch.tensor([[1.0, float("nan")], [1.0, 2.0]])).isnan().any())
    whole = torch.arange(3)
    assert rounded_values(whole) is whole


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.depth = (
            nn.Conv2d(3, 8, 3, padding=1),
            nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False),
        )
        self.line, self.head = nn.Conv1d(8, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depth(self.conv(x).relu()).relu()
        scores: Tensor = self.head(self.line(x.flatten(2)).relu().mean(2))
        return scores


def by_hand(net: Net, x: Tensor) -> Tensor:
    conv, depth, line, head = net.conv, net.depth, net.line, net.head
    x = F.conv2d(torchs_values(x), torchs_weight(conv.weight), conv.bias, padding=1).relu()
    x = F.conv2d(torchs_values(x), torchs_weight(depth.weight), None, stride=2, padding=1, groups=8).relu()
    x = F.conv1d(torchs_values(x.flatten(2)), torchs_weight(line.weight), line.bias).relu().mean(2)
    return F.linear(torchs_values(x), torchs_weight(head.weight), head.bias)


def test_a_model_rounds_in_training_alone() -> None:
    torch.manual_seed(2)
    net = Net()
    plain, x = copy.deepcopy(net), torch.randn(4, 3, 6, 6)
    seen: list[Tensor] = []
    net.conv.register_forward_hook(lambda module, inputs, output: seen.append(output))
    names = [str(it) for it in net.modules()]
    assert round_in_training(net) == 4
    assert round_in_training(net) == 0
    assert [str(it) for it in net.modules()] == names
    assert list(net.state_dict()) == list(plain.state_dict())

    (found,), (wanted,) = ((net(x),), (by_hand(plain, x),))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert len(seen) == 1
    found.square().sum().backward()
    wanted.square().sum().backward()
    for one, other in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)
    assert not torch.equal(found, plain(x))
    assert torch.equal(net.eval()(x), plain.eval()(x))
    assert torch.equal(copy.deepcopy(net)(x), plain(x))


def test_layers_can_be_what_they_were_before() -> None:
    net, plain = Net(), Net()
    use_tiny_map_convolutions(net)
    before = [type(it) for it in net.modules()]
    assert round_in_training(net) == 4
    round_no_more(net)
    round_no_more(plain)
    assert [type(it) for it in net.modules()] == before
    assert {type(it) for it in plain.modules()} == {Net, nn.Conv2d, nn.Conv1d, nn.Linear}


def test_convolutions_over_tiny_maps_round_too() -> None:
    torch.manual_seed(3)
    conv = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1))
    use_tiny_map_convolutions(conv)
    assert round_in_training(conv) == 1
    x = torch.randn(3, 4, 2, 2)
    (layer,) = conv
    wanted = F.conv2d(torchs_values(x), torchs_weight(layer.weight), layer.bias, padding=1)  # type: ignore[arg-type]
    torch.testing.assert_close(conv(x), wanted, rtol=1e-5, atol=1e-5)


def test_subclasses_are_left() -> None:
    class Own(nn.Linear):
        pass

    assert round_in_training(nn.Sequential(Own(2, 2), nn.MultiheadAttention(4, 2))) == 0
