"""ShuffleNet for small images, as the usual comparison of distillation methods has it, and what V2 shares with it.

1x1 convolutions in groups, a shuffle of the channels between them, 3x3 convolutions of each channel alone; a unit that
halves the map keeps its pooled input beside its output. Links read well at ``layer1``, ``layer2``, ``layer3``: after
the last ReLU of a stage; at ``preact1`` .. ``preact3``: before it; at ``pool`` and ``linear@input``: the pooled
feature, as (N, C, 1, 1) and (N, C).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.config.image_size import ImageSize
from layerlink.models.small_images import MeanPool, Preactivation, Stage, convolution, require_sizes, scaled

STEM = 24  # channels before the stages
GROUPS = 3
WIDTHS, UNITS = (240, 480, 960), (4, 8, 4)


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Channels of (N, C, H, W) in another order: the first of every group, then the second of every group, ..."""
    count, channels, height, width = x.shape
    grouped = x.reshape(count, groups, channels // groups, height, width)
    return grouped.transpose(1, 2).reshape(x.shape)


class Unit(nn.Module):
    """A bottleneck of 1x1, 3x3 and 1x1 convolutions, with a shuffle after the first.

    Args:
        channels: that come in.
        width: that go out.
        halves: whether the map is halved and the pooled input kept beside; else the input is added.
        groups: of the first 1x1 convolution; the last has three.
    """

    def __init__(self, channels: int, width: int, *, halves: bool, groups: int = GROUPS) -> None:
        super().__init__()
        own = width - channels if halves else width
        inner = own // 4
        self.halves, self.groups = halves, groups
        self.conv1 = convolution(channels, inner, 1, groups=groups)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = convolution(inner, inner, 3, 2 if halves else 1, groups=inner)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = convolution(inner, own, 1, groups=GROUPS)
        self.bn3 = nn.BatchNorm2d(own)

    def forward(self, x: Tensor, preact: nn.Module | None = None) -> Tensor:
        """(N, channels, H, W) as (N, width, H', W'), >= 0."""
        y = shuffled(F.relu(self.bn1(self.conv1(x))), self.groups)
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        y = torch.cat([y, F.avg_pool2d(x, 3, 2, padding=1)], dim=1) if self.halves else y + x
        return F.relu(y if preact is None else preact(y))


class ShuffleNetV1(nn.Module):
    """ShuffleNet with three groups, whose map is 1/8 of the image at the end.

    Args:
        num_classes: of the output.
        image_size: pixels a side, or (height, width), that it is made for; any from 8 on runs.
        channels: of the images.
        width: factor on the channels of the stages, > 0; they are whole numbers of 12, at least 36, 72 and 144.

    Source: Zhang et al. 2018 (arXiv 1707.01083), table 1 with three groups, as Tian et al. 2020 (arXiv 1910.10699)
        have it for CIFAR-100. Initial weights are torch's own.
    Differs: a 1x1 convolution instead of a 3x3 one of stride 2 and a pool at the beginning, and a ReLU after the 3x3
        convolution of a unit, which the paper leaves out.
    """

    def __init__(
        self, *, num_classes: int = 10, image_size: ImageSize = 32, channels: int = 3, width: float = 1.0
    ) -> None:
        super().__init__()
        require_sizes(num_classes=num_classes, image_size=image_size, channels=channels, width=width, least=8)
        widths = [max(scaled(each, width, by=4 * GROUPS), 3 * each // 20) for each in WIDTHS]
        self.conv1 = convolution(channels, STEM, 1)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.layer1 = _stage(STEM, widths[0], UNITS[0], groups=1)
        self.layer2 = _stage(widths[0], widths[1], UNITS[1])
        self.layer3 = _stage(widths[1], widths[2], UNITS[2])
        self.preact1, self.preact2, self.preact3 = Preactivation(), Preactivation(), Preactivation()
        self.pool = MeanPool()
        self.linear = nn.Linear(widths[2], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, channels, H, W)."""
        x = self.layer1(F.relu(self.bn1(self.conv1(images))), self.preact1)
        x = self.layer3(self.layer2(x, self.preact2), self.preact3)
        logits: Tensor = self.linear(self.pool(x).flatten(1))
        return logits


def shufflenet_v1(
    *, num_classes: int = 10, image_size: ImageSize = 32, channels: int = 3, width: float = 1.0
) -> ShuffleNetV1:
    """ShuffleNet with three groups for small images; 949,258 parameters of 100 classes.

    Arguments as for ``ShuffleNetV1``. Source: Tian et al. 2020 (arXiv 1910.10699), whose code has as many parameters
    and trains it at a learning rate of 0.01, not 0.05.
    """
    return ShuffleNetV1(num_classes=num_classes, image_size=image_size, channels=channels, width=width)


def _stage(channels: int, width: int, units: int, *, groups: int = GROUPS) -> Stage:
    first = Unit(channels, width, halves=True, groups=groups)
    return Stage(first, *(Unit(width, width, halves=False) for _ in range(units - 1)))
