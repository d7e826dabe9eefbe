"""U-Nets over residual blocks, for maps of labels of images of about 64 to 512 pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.config.image_size import ImageSize
from layerlink.errors import UsageError
from layerlink.models.resnet import Block
from layerlink.models.small_images import Preactivation, Stage, convolution, fan_out_normal, require_sizes, scaled

WIDTHS = (32, 64, 128, 256)  # channels of the four stages


class UNet(nn.Module):
    """Four residual stages down to a sixteenth of the image, three steps up that join each stage's map.

    Layers to link: ``layer1`` .. ``layer4`` at 1/2, 1/4, 1/8 and 1/16 of the image's sides, after the last ReLU of each
    stage (before it: ``preact1`` .. ``preact4``); ``up3``, ``up2``, ``up1`` at 1/8, 1/4 and 1/2; ``head`` gives the
    logits at 1/2.

    Args:
        num_classes: C >= 2, of the output.
        image_size: pixels a side, or (height, width), that it is made for; any from 16 on runs.
        channels: of the images.
        width: factor on the channels of all stages, 32 to 256, > 0.
        blocks: of two convolutions each, in every stage, >= 1.

    Source: the steps up as Ronneberger et al. 2015 (arXiv 1505.04597); residual blocks as He et al. 2016 (1512.03385).
    Differs: one convolution a step up, scaled bilinearly and not by a transposed convolution; maps are padded, so that
    the output has the image's size; initial weights as He et al. 2015 (1502.01852), eq. 14.
    """

    def __init__(
        self,
        *,
        num_classes: int = 21,
        image_size: ImageSize = 128,
        channels: int = 3,
        width: float = 1.0,
        blocks: int = 2,
    ) -> None:
        super().__init__()
        require_sizes(num_classes=num_classes, image_size=image_size, channels=channels, width=width, least=16)
        if blocks < 1:
            raise UsageError(f"blocks must be >= 1; got {blocks}")
        one, two, three, four = (scaled(each, width) for each in WIDTHS)
        self.stem = nn.Sequential(convolution(channels, one, stride=2), nn.BatchNorm2d(one), nn.ReLU(inplace=True))
        self.layer1 = _stage(one, one, blocks)
        # Halved before the stage, not by strides in it: a 1x1 convolution of stride 2 from 8 channels or fewer ends the
        # process in the backward pass of a CPU build of torch 2.13 (channels last, maps of 48x64).
        self.pool = nn.MaxPool2d(2)
        self.layer2 = _stage(one, two, blocks)
        self.layer3 = _stage(two, three, blocks)
        self.layer4 = _stage(three, four, blocks)
        self.preact1, self.preact2, self.preact3, self.preact4 = (Preactivation() for _ in WIDTHS)
        self.up3, self.up2, self.up1 = Up(four, three), Up(three, two), Up(two, one)
        self.head = nn.Conv2d(one, num_classes, 1)
        fan_out_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes, H, W) of images (N, channels, H, W)."""
        x1 = self.layer1(self.stem(images), self.preact1)
        x2 = self.layer2(self.pool(x1), self.preact2)
        x3 = self.layer3(self.pool(x2), self.preact3)
        x4 = self.layer4(self.pool(x3), self.preact4)
        x = self.up1(self.up2(self.up3(x4, x3), x2), x1)
        return F.interpolate(self.head(x), size=images.shape[-2:], mode="bilinear", align_corners=False)


class Up(nn.Module):
    """A map scaled to the size of another, joined with it, and a convolution of both.

    Args:
        below: channels of the map that is scaled.
        width: of the other, and of what comes out.
    """

    def __init__(self, below: int, width: int) -> None:
        super().__init__()
        self.conv = convolution(below + width, width)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, below, h, w) and (N, width, H, W) as (N, width, H, W), >= 0."""
        x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        return F.relu(self.bn(self.conv(torch.cat([x, skip], dim=1))))


def _stage(channels: int, width: int, blocks: int) -> Stage:
    first = Block(channels, width, 1, "conv")
    return Stage(first, *(Block(width, width, 1, "conv") for _ in range(blocks - 1)))


def unet(
    *, num_classes: int = 21, image_size: ImageSize = 128, channels: int = 3, width: float = 1.0, blocks: int = 2
) -> UNet:
    """The U-Net of residual blocks for maps of labels; arguments as in ``UNet``."""
    return UNet(num_classes=num_classes, image_size=image_size, channels=channels, width=width, blocks=blocks)
