"""VGGs for small images, as the usual comparison of distillation methods has them.

Five groups of 3x3 convolutions, each with batch normalisation and ReLU; a 2x2 max-pool after the first three; then the
mean over positions and one linear layer. Links read well at ``group1`` .. ``group5``: after a group's last ReLU, before
the pool; at ``preact1`` .. ``preact5``: before that ReLU; at ``pool`` and ``output@input``: the pooled feature, as (N,
C, 1, 1) and (N, C).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.config.image_size import ImageSize
from layerlink.models.small_images import MeanPool, Preactivation, Stage, fan_out_normal, require_sizes, scaled

GROUPS = (64, 128, 256, 512, 512)
POOLED = 3  # groups that a max-pool follows


class Layer(nn.Module):
    """A 3x3 convolution with batch normalisation and ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor, preact: nn.Module | None = None) -> Tensor:
        """(N, channels, H, W) as (N, width, H, W), >= 0."""
        y = self.norm(self.conv(x))
        return F.relu(y if preact is None else preact(y))


class SmallVGG(nn.Module):
    """Five groups of n convolutions and a linear layer; they are called by the layers of the VGG they come from.

    Args:
        convolutions: n, of each group.
        num_classes: of the output.
        image_size: pixels a side, or (height, width), that it is made for; any from 8 on runs.
        channels: of the images.
        width: factor on the channels of all groups, > 0.

    Source: Simonyan & Zisserman 2014 (arXiv 1409.1556), with batch normalisation, as Tian et al. 2020 (arXiv
        1910.10699) have it for CIFAR-100. Initial weights: convolutions by He et al. 2015 (arXiv 1502.01852), eq. 14,
        linear layer 0.01 * normal; biases 0.
    Differs: no hidden linear layers and two pools fewer than the paper's. As in the benchmark's code the convolutions
        have biases, though normalisation takes them away again.
    """

    def __init__(
        self,
        convolutions: int,
        *,
        num_classes: int = 10,
        image_size: ImageSize = 32,
        channels: int = 3,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        require_sizes(num_classes=num_classes, image_size=image_size, channels=channels, width=width, least=8)
        features = channels
        for place, base in enumerate(GROUPS, start=1):
            out = scaled(base, width)
            self.add_module(f"group{place}", _group(features, out, convolutions))
            self.add_module(f"preact{place}", Preactivation())
            features = out
        self.pool = MeanPool()
        self.output = nn.Linear(features, num_classes)
        fan_out_normal(self, linear=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, channels, H, W)."""
        x = images
        for place in range(1, len(GROUPS) + 1):
            x = self.get_submodule(f"group{place}")(x, self.get_submodule(f"preact{place}"))
            if place <= POOLED:
                x = F.max_pool2d(x, 2)
        logits: Tensor = self.output(self.pool(x).flatten(1))
        return logits


def vgg8(*, num_classes: int = 10, image_size: ImageSize = 32, channels: int = 3, width: float = 1.0) -> SmallVGG:
    """The VGG of 5 convolutions for small images; 3,965,028 parameters of 100 classes.

    Arguments as for ``SmallVGG``. Source: Tian et al. 2020 (arXiv 1910.10699), whose code has as many parameters.
    """
    return SmallVGG(1, num_classes=num_classes, image_size=image_size, channels=channels, width=width)


def vgg13(*, num_classes: int = 10, image_size: ImageSize = 32, channels: int = 3, width: float = 1.0) -> SmallVGG:
    """The VGG of 10 convolutions for small images; 9,462,180 parameters of 100 classes.

    Arguments as for ``SmallVGG``. Source: Tian et al. 2020 (arXiv 1910.10699), whose code has as many parameters.
    """
    return SmallVGG(2, num_classes=num_classes, image_size=image_size, channels=channels, width=width)


def _group(channels: int, width: int, convolutions: int) -> Stage:
    return Stage(*(Layer(channels if place == 0 else width, width) for place in range(convolutions)))
