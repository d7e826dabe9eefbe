"""Wide residual networks for small images, as Zagoruyko & Komodakis 2016 (arXiv 1605.07146) have them.

A 3x3 convolution to 16 channels, three stages of blocks with 16k, 32k and 64k channels, of which the last two halve the
map at their first block, then batch normalisation, ReLU, the mean over positions and a linear layer. In a block
normalisation and ReLU come before each convolution, so ``layer1`` .. ``layer3`` give sums that no ReLU has seen. Links
read well there; at ``preact1`` .. ``preact3``: what the normalisation that follows a stage makes of it, before its
ReLU; at ``pool`` and ``linear@input``: the pooled feature, as (N, C, 1, 1) and (N, C).
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.config.image_size import ImageSize
from layerlink.models.small_images import MeanPool, Preactivation, convolution, fan_out_normal, require_sizes, scaled

STEM, WIDTHS = 16, (16, 32, 64)


class Block(nn.Module):
    """Two times batch normalisation, ReLU and a 3x3 convolution, beside a shortcut.

    Args:
        channels: that come in.
        width: that go out. Where it differs, the shortcut is a 1x1 convolution after the first ReLU.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = convolution(channels, width, stride=stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width)
        changes = channels != width or stride > 1
        self.shortcut = convolution(channels, width, 1, stride) if changes else None

    def forward(self, x: Tensor, preact: nn.Module | None = None) -> Tensor:
        """(N, channels, H, W) as (N, width, H / stride, W / stride)."""
        y = self.bn1(x)
        y = F.relu(y if preact is None else preact(y))
        if self.shortcut is not None:
            x = self.shortcut(y)
        z: Tensor = self.conv2(F.relu(self.bn2(self.conv1(y))))
        return x + z


class Blocks(nn.Sequential):
    """Blocks one after the other, of which the first shows what its normalisation makes of the stage before."""

    def forward(self, x: Tensor, preact: nn.Module | None = None) -> Tensor:
        """The last block's sum."""
        first, *others = self
        x = first(x, preact)
        for block in others:
            x = block(x)
        return x


class WideResNet(nn.Module):
    """A wide residual network of 6n + 4 layers.

    Args:
        depth: 6n + 4, n being the blocks of each of the three stages.
        widening: k.
        num_classes: of the output.
        image_size: pixels a side, or (height, width), that it is made for; any from 4 on runs.
        channels: of the images.
        width: factor on the channels of everything, beside k; > 0.

    Source: Zagoruyko & Komodakis 2016 (arXiv 1605.07146), table 1; no dropout. Initial weights of convolutions: He et
        al. 2015 (arXiv 1502.01852), eq. 14; the linear layer's biases 0.
    """

    def __init__(
        self,
        depth: int,
        widening: int,
        *,
        num_classes: int = 10,
        image_size: ImageSize = 32,
        channels: int = 3,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        require_sizes(num_classes=num_classes, image_size=image_size, channels=channels, width=width, least=4)
        stem, *widths = (scaled(each, width) for each in (STEM, *(widening * each for each in WIDTHS)))
        blocks = (depth - 4) // 6
        self.conv1 = convolution(channels, stem)
        self.layer1 = _stage(stem, widths[0], blocks, 1)
        self.layer2 = _stage(widths[0], widths[1], blocks, 2)
        self.layer3 = _stage(widths[1], widths[2], blocks, 2)
        self.bn1 = nn.BatchNorm2d(widths[2])
        self.preact1, self.preact2, self.preact3 = Preactivation(), Preactivation(), Preactivation()
        self.pool = MeanPool()
        self.linear = nn.Linear(widths[2], num_classes)
        fan_out_normal(self)
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, channels, H, W)."""
        x = self.layer2(self.layer1(self.conv1(images)), self.preact1)
        x = self.layer3(x, self.preact2)
        x = F.relu(self.preact3(self.bn1(x)))
        logits: Tensor = self.linear(self.pool(x).flatten(1))
        return logits


def _stage(channels: int, width: int, blocks: int, stride: int) -> Blocks:
    first = Block(channels, width, stride)
    return Blocks(first, *(Block(width, width, 1) for _ in range(blocks - 1)))


def _named(depth: int, widening: int, parameters: str) -> Callable[..., WideResNet]:
    def make(*, num_classes: int = 10, image_size: ImageSize = 32, channels: int = 3, width: float = 1.0) -> WideResNet:
        return WideResNet(
            depth, widening, num_classes=num_classes, image_size=image_size, channels=channels, width=width
        )

    make.__name__ = make.__qualname__ = f"wrn_{depth}_{widening}"
    make.__doc__ = f"""The wide ResNet WRN-{depth}-{widening} for small images; {parameters} parameters of 100 classes.

    Arguments as in ``WideResNet``. Source: Zagoruyko & Komodakis 2016 (arXiv 1605.07146); the code of Tian et al. 2020
    (arXiv 1910.10699) has as many parameters.
    """
    return make


wrn_16_1, wrn_16_2 = _named(16, 1, "180,916"), _named(16, 2, "703,284")
wrn_40_1, wrn_40_2 = _named(40, 1, "569,780"), _named(40, 2, "2,255,156")
