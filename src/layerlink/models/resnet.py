"""ResNets for small images, as He et al. 2016 (arXiv 1512.03385) have them in section 4.2.

A 3x3 convolution, three stages of blocks with 16, 32 and 64 channels, of which the last two halve the map at their
first block, then the mean over positions and a linear layer. Shortcuts have no parameters (option A): every second
pixel, and zeros for the channels that are new. Links read well at ``layer1``, ``layer2``, ``layer3``: after the last
ReLU of a stage; at ``preact1`` .. ``preact3``: before it; at ``pool`` and ``linear@input``: the pooled feature, as (N,
C, 1, 1) and (N, C).

The usual comparison of distillation methods (Tian et al. 2020, arXiv 1910.10699) has them with shortcuts that are 1x1
convolutions with batch normalisation (``shortcut="conv"``, option B), and two with four times the channels and 32
before the stages: ``resnet8x4`` and ``resnet32x4``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.config.image_size import ImageSize
from layerlink.errors import UsageError
from layerlink.models.small_images import (
    MeanPool,
    Preactivation,
    Stage,
    convolution,
    fan_out_normal,
    require_sizes,
    scaled,
)

WIDTHS = (16, 32, 64)
SHORTCUTS = ("pad", "conv")


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation, beside a shortcut.

    Args:
        channels: that come in.
        width: that go out.
        stride: of the first convolution and of the shortcut.
        shortcut: ``pad`` or ``conv``, where map or channels change.
    """

    def __init__(self, channels: int, width: int, stride: int, shortcut: str = "pad") -> None:
        super().__init__()
        self.conv1 = convolution(channels, width, stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.added = stride, width - channels
        changes = stride > 1 or self.added != 0
        self.shortcut: nn.Module | None = None
        if shortcut == "conv" and changes:
            self.shortcut = nn.Sequential(convolution(channels, width, 1, stride), nn.BatchNorm2d(width))

    def forward(self, x: Tensor, preact: nn.Module | None = None) -> Tensor:
        """(N, channels, H, W) as (N, width, H / stride, W / stride), >= 0."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.shortcut is not None:
            x = self.shortcut(x)
        elif self.stride > 1 or self.added:
            before = self.added // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.added - before))
        y = y + x
        return F.relu(y if preact is None else preact(y))


class ResNet(nn.Module):
    """A ResNet of 6n + 2 layers.

    Args:
        blocks: n, of each of the three stages.
        num_classes: of the output.
        image_size: pixels a side, or (height, width), that it is made for; any from 4 on runs.
        channels: of the images.
        width: factor on the channels of all stages, > 0.
        shortcut: where map or channels change: ``pad`` (He et al., option A: no parameters) or ``conv`` (option B: a
            1x1 convolution with batch normalisation).
        stem: channels before the stages.
        stages: channels of the three stages.

    Initial weights of convolutions: He et al. 2015 (arXiv 1502.01852), by the inputs of a unit (eq. 10) with ``pad``,
    by its outputs (eq. 14) with ``conv``.
    """

    def __init__(
        self,
        blocks: int,
        *,
        num_classes: int = 10,
        image_size: ImageSize = 32,
        channels: int = 3,
        width: float = 1.0,
        shortcut: str = "pad",
        stem: int = WIDTHS[0],
        stages: Sequence[int] = WIDTHS,
    ) -> None:
        super().__init__()
        require_sizes(num_classes=num_classes, image_size=image_size, channels=channels, width=width, least=4)
        if shortcut not in SHORTCUTS:
            raise UsageError(f"shortcut must be pad or conv; got {shortcut!r}")
        widths = [scaled(each, width) for each in (stem, *stages)]
        self.conv1 = convolution(channels, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = _stage(widths[0], widths[1], blocks, 1, shortcut)
        self.layer2 = _stage(widths[1], widths[2], blocks, 2, shortcut)
        self.layer3 = _stage(widths[2], widths[3], blocks, 2, shortcut)
        self.preact1, self.preact2, self.preact3 = Preactivation(), Preactivation(), Preactivation()
        self.pool = MeanPool()
        self.linear = nn.Linear(widths[3], num_classes)
        if shortcut == "conv":
            fan_out_normal(self)
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, channels, H, W)."""
        x = self.layer1(F.relu(self.bn1(self.conv1(images))), self.preact1)
        x = self.layer3(self.layer2(x, self.preact2), self.preact3)
        logits: Tensor = self.linear(self.pool(x).flatten(1))
        return logits


def _stage(channels: int, width: int, blocks: int, stride: int, shortcut: str) -> Stage:
    first = Block(channels, width, stride, shortcut)
    return Stage(first, *(Block(width, width, 1) for _ in range(blocks - 1)))


def _named(layers: int) -> Callable[..., ResNet]:
    def make(
        *,
        num_classes: int = 10,
        image_size: ImageSize = 32,
        channels: int = 3,
        width: float = 1.0,
        shortcut: str = "pad",
    ) -> ResNet:
        return ResNet(
            (layers - 2) // 6,
            num_classes=num_classes,
            image_size=image_size,
            channels=channels,
            width=width,
            shortcut=shortcut,
        )

    make.__name__ = make.__qualname__ = f"resnet{layers}"
    make.__doc__ = f"The ResNet of {layers} layers for small images; arguments as in ``ResNet``."
    return make


def _wide(layers: int, parameters: str) -> Callable[..., ResNet]:
    def make(*, num_classes: int = 10, image_size: ImageSize = 32, channels: int = 3, width: float = 1.0) -> ResNet:
        return ResNet(
            (layers - 2) // 6,
            num_classes=num_classes,
            image_size=image_size,
            channels=channels,
            width=width,
            shortcut="conv",
            stem=32,
            stages=[4 * each for each in WIDTHS],
        )

    make.__name__ = make.__qualname__ = f"resnet{layers}x4"
    make.__doc__ = f"""The ResNet of {layers} layers, four times as wide; {parameters} parameters of 100 classes.

    Arguments as in ``ResNet``. Source: Tian et al. 2020 (arXiv 1910.10699), whose code has as many parameters.
    """
    return make


resnet8, resnet20, resnet32, resnet44, resnet56, resnet110 = map(_named, (8, 20, 32, 44, 56, 110))
resnet8x4, resnet32x4 = _wide(8, "1,233,540"), _wide(32, "7,433,860")
