from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from layerlink.models import build_model
from layerlink.models.tiny_maps import TinyMapConv2d, use_tiny_map_convolutions

SIZES = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 2), (4, 4)]


def pair(bias: bool = True) -> tuple[nn.Conv2d, nn.Conv2d]:
    """The same convolution twice, the second with the tiny case."""
    plain = nn.Conv2d(5, 7, 3, padding=1, bias=bias).double()
    tiny = copy.deepcopy(plain)
    assert use_tiny_map_convolutions(tiny) == 1
    return plain, tiny


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_the_convolution(
    size: tuple[int, int], bias: bool, layout: torch.memory_format
) -> None:
    plain, tiny = (module.to(memory_format=layout) for module in pair(bias))
    x = torch.randn(4, 5, *size, dtype=torch.float64).to(memory_format=layout)
    given = torch.randn(4, 7, *size, dtype=torch.float64)
    found = []
    for module in (plain, tiny):
        own = x.clone().requires_grad_()
        y = module(own).relu_() * 2  # in place, as behind every convolution of a VGG
        y.backward(given)
        found.append([y.detach(), own.grad, module.weight.grad, *([module.bias.grad] if bias else [])])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_gradcheck_of_the_tiny_case() -> None:
    _, tiny = pair()
    x = torch.randn(2, 5, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(tiny, (x,))


@pytest.mark.parametrize("frozen", [True, False])
def test_under_autocast_it_is_as_near_to_float32_as_the_convolution(frozen: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(64, 32, 3, padding=1).requires_grad_(not frozen)
    tiny = copy.deepcopy(plain)
    use_tiny_map_convolutions(tiny)
    x = torch.randn(16, 64, 2, 2)
    exact = plain.double()(x.double()).detach()
    plain.float()
    errors = []
    for module in (plain, tiny):
        with torch.autocast("cpu", torch.bfloat16):
            y = module(x).detach()
        assert y.dtype == torch.bfloat16
        errors.append(float((y.double() - exact).square().mean().sqrt() / exact.std()))
    assert errors[1] < 1.1 * errors[0] < 0.01


@pytest.mark.parametrize("keep", [True, False])
def test_a_frozen_layer_notices_new_weights(keep: bool) -> None:
    plain, _ = pair()
    tiny = nn.Conv2d(5, 7, 3, padding=1).double()
    tiny.load_state_dict(plain.state_dict())
    use_tiny_map_convolutions(tiny, keep_matrices=keep)
    x = torch.randn(3, 5, 2, 2, dtype=torch.float64)
    for module in (plain, tiny):
        module.requires_grad_(False)
    with torch.inference_mode():
        torch.testing.assert_close(tiny(x), plain(x))
    other, _ = pair()
    for module in (plain, tiny):
        module.load_state_dict(other.state_dict())
    torch.testing.assert_close(tiny(x), other(x))
    learns = x.clone().requires_grad_()  # through a frozen layer, after a pass in inference mode
    tiny(learns).sum().backward()
    assert learns.grad is not None
    moved = copy.deepcopy(tiny).float()
    torch.testing.assert_close(moved(x.float()), other.float()(x.float()))


def test_what_torch_does_not_count_as_a_change_is_seen_unless_matrices_are_kept() -> None:
    plain, tiny = pair()
    x = torch.randn(3, 5, 2, 2, dtype=torch.float64)
    for module in (plain, tiny):
        module.requires_grad_(False)
        module(x)
        module.weight.data.mul_(0.5)
    torch.testing.assert_close(tiny(x), plain(x))


def test_where_torch_transforms_functions_it_is_the_plain_convolution() -> None:
    plain, tiny = pair()
    x = torch.randn(3, 5, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(tiny)(x.unsqueeze(1)).squeeze(1), plain(x))
    weights = dict(tiny.named_parameters())
    gradients = torch.func.grad(lambda own: torch.func.functional_call(tiny, own, (x,)).sum())(weights)
    plain(x).sum().backward()
    torch.testing.assert_close(gradients["weight"], plain.weight.grad)
    assert tiny(x[:0]).shape == (0, 7, 2, 2)


def test_where_torch_exports_it_is_the_plain_convolution() -> None:
    plain, tiny = pair()
    x = torch.randn(3, 5, 2, 2, dtype=torch.float64)
    exported = torch.export.export(tiny.requires_grad_(False), (x,)).module()
    torch.testing.assert_close(exported(x), plain(x))


def test_a_kept_matrix_is_not_written_along() -> None:
    _, tiny = pair()
    tiny.requires_grad_(False)
    tiny.keeps_matrix = True
    before = len(pickle.dumps(tiny))
    tiny(torch.randn(1, 5, 2, 2, dtype=torch.float64))
    assert tiny._frozen is not None
    assert len(pickle.dumps(tiny)) == before
    assert copy.deepcopy(tiny)._frozen is None


def test_what_is_no_plain_3x3_convolution_is_left_alone() -> None:
    class Own(nn.Conv2d):
        """A user's own convolution."""

    model = nn.ModuleList(
        [
            nn.Conv2d(4, 4, 3),
            nn.Conv2d(4, 4, 3, padding=1, stride=2),
            nn.Conv2d(4, 4, 3, padding=1, groups=2),
            nn.Conv2d(4, 4, 3, padding=2, dilation=2),
            nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
            nn.Conv2d(4, 4, 3, padding="same"),
            nn.Conv2d(4, 4, 1),
            Own(4, 4, 3, padding=1),
        ]
    )
    assert use_tiny_map_convolutions(model) == 0
    assert not any(isinstance(module, TinyMapConv2d) for module in model.modules())


def test_names_state_and_hooks_stay() -> None:
    model = build_model("vgg7", num_classes=10, image_size=32, width=0.05)
    text, names = repr(model), list(model.state_dict())
    seen: list[tuple[int, ...]] = []
    model.group5[0][0].register_forward_hook(lambda _module, _args, output: seen.append(tuple(output.shape)))
    assert use_tiny_map_convolutions(model) == 5
    assert repr(model) == text
    assert list(model.state_dict()) == names
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert seen == [(2, 26, 2, 2)]
    with pytest.raises(RuntimeError, match=r"same|dtype|type"):
        model(torch.randn(2, 3, 32, 32, dtype=torch.float64))
