from __future__ import annotations

import pytest
import torch

from layerlink.errors import UsageError
from layerlink.models import build_model


@pytest.mark.parametrize("size", [(96, 128), (33, 47), (16, 16)])
@pytest.mark.parametrize("form", [torch.channels_last, torch.contiguous_format])
def test_logits_are_maps_of_the_images_size(size: tuple[int, int], form: torch.memory_format) -> None:
    model = build_model("unet", num_classes=5, image_size=size, width=0.125, blocks=1).to(memory_format=form)
    images = torch.randn(2, 3, *size).contiguous(memory_format=form)
    logits = model(images)
    assert logits.shape == (2, 5, *size)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_map_follows_its_image() -> None:
    """What is moved by 16 pixels, the sum of all strides, gives a map that is moved by as many."""
    torch.manual_seed(0)
    model = build_model("unet", num_classes=4, width=0.125, blocks=1).eval()
    whole = torch.randn(1, 3, 320, 320)
    with torch.no_grad():
        one, other = model(whole[:, :, :-16, :-16]), model(whole[:, :, 16:, 16:])
    middle = slice(136, 152)  # further from the border than anything is seen from
    assert torch.allclose(one[:, :, 152:168, 152:168], other[:, :, middle, middle], atol=1e-4)


def test_parameters_are_those_of_its_layers() -> None:
    model = build_model("unet", num_classes=11, width=1.0, blocks=2)
    assert sum(parameter.numel() for parameter in model.parameters()) == _counted((32, 64, 128, 256), 2, 11)
    small = build_model("unet", num_classes=11, width=0.25, blocks=1)
    assert sum(parameter.numel() for parameter in small.parameters()) == _counted((8, 16, 32, 64), 1, 11)
    names = {name for name, _ in model.named_children()}
    assert {"layer1", "layer2", "layer3", "layer4", "preact4", "up3", "up2", "up1", "head"} <= names


def _counted(widths: tuple[int, ...], blocks: int, classes: int) -> int:
    def conv(inputs: int, outputs: int, kernel: int = 3) -> int:
        return inputs * outputs * kernel**2 + 2 * outputs  # with its batch norm

    total = conv(3, widths[0])
    for before, width in zip((widths[0], *widths), widths, strict=False):
        total += conv(before, width) + (2 * blocks - 1) * conv(width, width)
        total += conv(before, width, 1) if before != width else 0
    total += sum(conv(below + width, width) for below, width in zip(widths[1:], widths, strict=False))
    return total + widths[0] * classes + classes


def test_impossible_values_are_refused() -> None:
    with pytest.raises(UsageError, match="image_size >= 16 and width > 0"):
        build_model("unet", image_size=(8, 64))
    with pytest.raises(UsageError, match="blocks must be >= 1; got 0"):
        build_model("unet", blocks=0)
