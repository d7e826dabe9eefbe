"""ShuffleNetV2 for small images, as the usual comparison of distillation methods has it.

A unit works on half of the channels and leaves the others as they are, then shuffles them; one that halves the map
works on all of them in two branches. Names of layers as in ``ShuffleNetV1``, and ``last``, the widest map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.config.image_size import ImageSize
from layerlink.models.shufflenet import STEM, shuffled
from layerlink.models.small_images import MeanPool, Preactivation, Stage, convolution, require_sizes, scaled

WIDTHS, UNITS, LAST = (116, 232, 464), (4, 8, 4), 1024


class Branch(nn.Sequential):
    """1x1 with ReLU, 3x3 of each channel alone, 1x1; batch normalisation after each, no ReLU at the end."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__(
            *(convolution(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU()),
            *(convolution(width, width, 3, stride, groups=width), nn.BatchNorm2d(width)),
            *(convolution(width, width, 1), nn.BatchNorm2d(width)),
        )


class Unit(nn.Module):
    """Half of the channels go through a branch, the others stay; then a shuffle of both.

    Args:
        channels: that come in and go out, an even number.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = Branch(channels // 2, channels // 2, 1)

    def forward(self, x: Tensor, preact: nn.Module | None = None) -> Tensor:
        """(N, channels, H, W) in the same shape, >= 0."""
        kept, x = x.chunk(2, dim=1)
        y = shuffled(torch.cat([kept, self.branch(x)], dim=1), 2)
        return F.relu(y if preact is None else preact(y))  # what is kept has seen its ReLU already


class DownUnit(nn.Module):
    """Two branches, both of which halve the map; then a shuffle of both.

    Args:
        channels: that come in.
        width: that go out, an even number.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.short = nn.Sequential(
            *(convolution(channels, channels, 3, 2, groups=channels), nn.BatchNorm2d(channels)),
            *(convolution(channels, half, 1), nn.BatchNorm2d(half)),
        )
        self.branch = Branch(channels, half, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) as (N, width, H / 2, W / 2), >= 0."""
        return F.relu(shuffled(torch.cat([self.short(x), self.branch(x)], dim=1), 2))


class ShuffleNetV2(nn.Module):
    """ShuffleNetV2 of which the map is 1/8 of the image at the end.

    Args:
        num_classes: of the output.
        image_size: pixels a side, or (height, width), that it is made for; any from 8 on runs.
        channels: of the images.
        width: factor on the channels of the stages, > 0; they are even numbers. 1 is the paper's 1x; its others are
            no multiples of that.

    Source: Ma et al. 2018 (arXiv 1807.11164), table 5, as Tian et al. 2020 (arXiv 1910.10699) have it for CIFAR-100.
        Initial weights are torch's own.
    Differs: a 1x1 convolution instead of a 3x3 one of stride 2 and a pool at the beginning.
    """

    def __init__(
        self, *, num_classes: int = 10, image_size: ImageSize = 32, channels: int = 3, width: float = 1.0
    ) -> None:
        super().__init__()
        require_sizes(num_classes=num_classes, image_size=image_size, channels=channels, width=width, least=8)
        widths = [scaled(each, width, by=2) for each in WIDTHS]
        self.conv1 = convolution(channels, STEM, 1)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.layer1 = _stage(STEM, widths[0], UNITS[0])
        self.layer2 = _stage(widths[0], widths[1], UNITS[1])
        self.layer3 = _stage(widths[1], widths[2], UNITS[2])
        self.preact1, self.preact2, self.preact3 = Preactivation(), Preactivation(), Preactivation()
        self.last = nn.Sequential(convolution(widths[2], LAST, 1), nn.BatchNorm2d(LAST), nn.ReLU())
        self.pool = MeanPool()
        self.linear = nn.Linear(LAST, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, channels, H, W)."""
        x = self.layer1(F.relu(self.bn1(self.conv1(images))), self.preact1)
        x = self.layer3(self.layer2(x, self.preact2), self.preact3)
        logits: Tensor = self.linear(self.pool(self.last(x)).flatten(1))
        return logits


def shufflenet_v2(
    *, num_classes: int = 10, image_size: ImageSize = 32, channels: int = 3, width: float = 1.0
) -> ShuffleNetV2:
    """ShuffleNetV2 for small images; 1,355,528 parameters of 100 classes.

    Arguments as for ``ShuffleNetV2``. Source: Tian et al. 2020 (arXiv 1910.10699), whose code has as many parameters
    and trains it at a learning rate of 0.01, not 0.05.
    """
    return ShuffleNetV2(num_classes=num_classes, image_size=image_size, channels=channels, width=width)


def _stage(channels: int, width: int, units: int) -> Stage:
    return Stage(DownUnit(channels, width), *(Unit(width) for _ in range(units - 1)))
