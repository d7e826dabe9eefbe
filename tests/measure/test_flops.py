from __future__ import annotations

import pytest
import torch

from layerlink.measure.flops import count_flops
from layerlink.models import build_model


def vgg_flops(groups: list[list[int]], hidden: list[int], size: int, classes: int) -> int:
    """2 * multiplications of every convolution and linear layer, by their definition."""
    total, channels = 0, 3
    for group in groups:
        for width in group:
            total += 2 * 9 * channels * width * size * size
            channels = width
        size //= 2
    units = channels * size * size
    for width in [*hidden, classes]:
        total += 2 * units * width
        units = width
    return total


@pytest.mark.parametrize(
    ("name", "groups", "hidden"),
    [
        ("vgg16", [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3], [4096, 4096]),
        ("vgg7", [[64], [128], [256], [512], [512]], [4096]),
    ],
)
def test_flops_are_the_definitions(name: str, groups: list[list[int]], hidden: list[int]) -> None:
    model = build_model(name, num_classes=10, image_size=32)
    assert count_flops(model, torch.zeros(1, 3, 32, 32)) == vgg_flops(groups, hidden, 32, 10)


@pytest.mark.parametrize("grad", [False, True])
def test_fused_attention_is_counted(grad: bool) -> None:
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).requires_grad_(grad).eval()
    words, wide, inner = 3 * 7, 32, 64
    products = 4 * wide * wide + 2 * wide * inner + 2 * 7 * wide  # q k v o, the two layers, scores and their sums
    assert count_flops(layer, torch.zeros(3, 7, wide)) == 2 * words * products
    assert torch.backends.mha.get_fastpath_enabled()
