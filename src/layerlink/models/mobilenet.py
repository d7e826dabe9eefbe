"""MobileNetV2 for small images, as the usual comparison of distillation methods has it.

Inverted residuals: a 1x1 convolution to six times the channels, a 3x3 convolution of each channel alone, and a 1x1
convolution back, with no ReLU after it. So ``layer1`` .. ``layer4``, where links read well, are what comes before an
activation already. ``last`` is the widest map; ``pool`` and ``linear@input`` are the pooled feature, as (N, C, 1, 1)
and (N, C).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.config.image_size import ImageSize
from layerlink.models.small_images import MeanPool, convolution, fan_out_normal, require_sizes, scaled

STEM, LAST = 32, 1280
# Layer by layer: rows of expansion, channels, blocks, stride of the first.
LAYERS = (
    ((1, 16, 1, 1), (6, 24, 2, 1)),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)


class InvertedResidual(nn.Module):
    """Wider, then each channel alone, then narrow again; beside a shortcut where nothing changes in size.

    Args:
        channels: that come in.
        width: that go out.
        stride: of the middle convolution.
        expansion: how many times wider it is inside; at 1 the first convolution stays.
    """

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.wide = nn.Sequential(convolution(channels, inner, 1), nn.BatchNorm2d(inner))
        self.deep = nn.Sequential(convolution(inner, inner, 3, stride, groups=inner), nn.BatchNorm2d(inner))
        self.narrow = nn.Sequential(convolution(inner, width, 1), nn.BatchNorm2d(width))
        self.added = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) as (N, width, H / stride, W / stride)."""
        y: Tensor = self.narrow(F.relu(self.deep(F.relu(self.wide(x)))))
        return x + y if self.added else y


class MobileNetV2(nn.Module):
    """MobileNetV2 of which the map is 1/16 of the image at the end.

    Args:
        num_classes: of the output.
        image_size: pixels a side, or (height, width), that it is made for; any from 16 on runs.
        channels: of the images.
        width: the paper's multiplier of the channels, > 0; of the last map's 1,280 only above 1.

    Source: Sandler et al. 2018 (arXiv 1801.04381), table 2, as Tian et al. 2020 (arXiv 1910.10699) have it for
        CIFAR-100. Initial weights: convolutions by He et al. 2015 (arXiv 1502.01852), eq. 14, linear layer 0.01 *
        normal; biases 0.
    Differs: stride 1 instead of 2 at 24 channels, ReLU instead of ReLU6, no dropout, channels not rounded to eights,
        and a 1x1 convolution also where nothing is expanded.
    """

    def __init__(
        self, *, num_classes: int = 10, image_size: ImageSize = 32, channels: int = 3, width: float = 0.5
    ) -> None:
        super().__init__()
        require_sizes(num_classes=num_classes, image_size=image_size, channels=channels, width=width, least=16)
        features, last = scaled(STEM, width), scaled(LAST, max(1.0, width))
        self.conv1 = convolution(channels, features, stride=2)
        self.bn1 = nn.BatchNorm2d(features)
        for place, rows in enumerate(LAYERS, start=1):
            blocks = []
            for expansion, base, count, stride in rows:
                for block in range(count):
                    out = scaled(base, width)
                    blocks.append(InvertedResidual(features, out, stride if block == 0 else 1, expansion))
                    features = out
            self.add_module(f"layer{place}", nn.Sequential(*blocks))
        self.last = nn.Sequential(convolution(features, last, 1), nn.BatchNorm2d(last), nn.ReLU())
        self.pool = MeanPool()
        self.linear = nn.Linear(last, num_classes)
        fan_out_normal(self, linear=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, channels, H, W)."""
        x = F.relu(self.bn1(self.conv1(images)))
        for place in range(1, len(LAYERS) + 1):
            x = self.get_submodule(f"layer{place}")(x)
        logits: Tensor = self.linear(self.pool(self.last(x)).flatten(1))
        return logits


def mobilenet_v2(
    *, num_classes: int = 10, image_size: ImageSize = 32, channels: int = 3, width: float = 0.5
) -> MobileNetV2:
    """MobileNetV2 for small images, of half the width; 812,836 parameters of 100 classes.

    Arguments as for ``MobileNetV2``. Source: Tian et al. 2020 (arXiv 1910.10699), whose code has as many parameters
    and trains it at a learning rate of 0.01, not 0.05.
    """
    return MobileNetV2(num_classes=num_classes, image_size=image_size, channels=channels, width=width)
