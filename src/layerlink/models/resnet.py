"""ResNets for small images, as He et al. 2016 (arXiv 1512.03385) have them in section 4.2.

A 3x3 convolution, three stages of blocks with 16, 32 and 64 channels, of which the last two halve the map at their
first block, then the mean over positions and a linear layer. Shortcuts have no parameters (option A): every second
pixel, and zeros for the channels that are new. Links read well at ``layer1``, ``layer2``, ``layer3``: after the last
ReLU of a stage.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.errors import UsageError

WIDTHS = (16, 32, 64)


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation, beside a shortcut.

    Args:
        channels: that come in.
        width: that go out.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.added = stride, width - channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) as (N, width, H / stride, W / stride), >= 0."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1 or self.added:
            before = self.added // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.added - before))
        return F.relu(y + x)


class ResNet(nn.Module):
    """A ResNet of 6n + 2 layers.

    Args:
        blocks: n, of each of the three stages.
        num_classes: of the output.
        image_size: pixels a side that it is made for; any from 4 on runs.
        channels: of the images.
        width: factor on the channels of all stages, > 0.
    """

    def __init__(
        self, blocks: int, *, num_classes: int = 10, image_size: int = 32, channels: int = 3, width: float = 1.0
    ) -> None:
        super().__init__()
        if min(num_classes, channels) < 1 or image_size < 4 or not width > 0:
            raise UsageError(
                f"num_classes and channels must be >= 1, image_size >= 4 and width > 0; got {num_classes}, {channels}, "
                f"{image_size}, {width:g}"
            )
        widths = [max(1, round(width * each)) for each in WIDTHS]
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = _stage(widths[0], widths[0], blocks, 1)
        self.layer2 = _stage(widths[0], widths[1], blocks, 2)
        self.layer3 = _stage(widths[1], widths[2], blocks, 2)
        self.linear = nn.Linear(widths[2], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, channels, H, W)."""
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(images))))))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def _stage(channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(channels, width, stride)
    return nn.Sequential(first, *(Block(width, width, 1) for _ in range(blocks - 1)))


def _named(layers: int) -> Callable[..., ResNet]:
    def make(*, num_classes: int = 10, image_size: int = 32, channels: int = 3, width: float = 1.0) -> ResNet:
        return ResNet((layers - 2) // 6, num_classes=num_classes, image_size=image_size, channels=channels, width=width)

    make.__name__ = make.__qualname__ = f"resnet{layers}"
    make.__doc__ = f"The ResNet of {layers} layers for small images; arguments as in ``ResNet``."
    return make


resnet8, resnet20, resnet32, resnet44, resnet56, resnet110 = map(_named, (8, 20, 32, 44, 56, 110))
