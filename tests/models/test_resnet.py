from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from layerlink.data import load_source
from layerlink.errors import UsageError
from layerlink.files.weights import load_weights
from layerlink.models import build_model

STATISTICS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet20", 0.27), ("resnet32", 0.46), ("resnet44", 0.66), ("resnet56", 0.85), ("resnet110", 1.7)],
)
def test_parameters_are_as_published(name: str, millions: float) -> None:
    count = sum(parameter.numel() for parameter in build_model(name).parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.02)  # He et al. 2016, table 6


def test_resnet8_has_one_block_a_stage_and_every_convolution_counts() -> None:
    model = build_model("resnet8", num_classes=7, channels=1)
    convolutions = 9 * (16 + 16 * 16 * 2 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    norms = 2 * (16 * 3 + 32 * 2 + 64 * 2)
    assert sum(parameter.numel() for parameter in model.parameters()) == convolutions + norms + 64 * 7 + 7
    assert model(torch.zeros(2, 1, 16, 16)).shape == (2, 7)


def test_a_shortcut_takes_every_second_pixel_and_zeros_for_new_channels() -> None:
    block = build_model("resnet8").layer2[0].eval()
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.rand(2, 16, 6, 6)
    expected = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8))
    assert torch.equal(block(x), expected)


@pytest.mark.parametrize(("depth", "stated"), [(20, 91.9), (32, 92.9), (56, 93.6)])
def test_pretrained_weights_load_and_read_images_as_stated(shared: Path, depth: int, stated: float) -> None:
    assert accuracy(shared, depth, 1000) == pytest.approx(stated, abs=2.5)  # three standard deviations of 1,000 images


@pytest.mark.long
@pytest.mark.parametrize(("depth", "published"), [(20, 91.7), (32, 92.6), (56, 93.4)])
def test_pretrained_weights_read_all_test_images_as_published(shared: Path, depth: int, published: float) -> None:
    # A few test images went through JPEG: ../shared/data/README.md.
    assert accuracy(shared, depth, 10_000) == pytest.approx(published, abs=0.1)


def accuracy(shared: Path, depth: int, count: int) -> float:
    """In percent, of the first images of CIFAR-10's test set."""
    model = build_model(f"resnet{depth}")
    load_weights(model, shared / "models" / f"cifar10_resnet{depth}.safetensors")
    images = load_source("cifar10", shared / "data" / "cifar10").test
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in STATISTICS)
    model.eval()
    with torch.no_grad():
        right = [
            (model((part.float() / 255 - mean) / std).argmax(1) == labels).sum()
            for part, labels in zip(images.images[:count].split(500), images.labels[:count].split(500), strict=True)
        ]
    return 100 * int(sum(right)) / count


def test_impossible_arguments_are_told() -> None:
    with pytest.raises(UsageError, match="image_size >= 4 and width > 0; got 10, 3, 2, 1"):
        build_model("resnet8", image_size=2)
