"""What the networks for small images share: stages, pre-activations that can be tapped, pooling, first weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from layerlink.config.image_size import ImageSize, plain, sides
from layerlink.errors import UsageError


class Preactivation(nn.Identity):
    """Gives what it gets: a name for what comes before a stage's last ReLU, so that links can read it."""


class MeanPool(nn.Module):
    """The mean over positions; what it gives is the pooled feature."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) as (N, C, 1, 1)."""
        return x.mean((2, 3), keepdim=True)


class Stage(nn.Sequential):
    """Blocks one after the other, of which the last shows what comes before its ReLU.

    Its blocks take ``(x)``, the last one ``(x, preact)``.
    """

    def forward(self, x: Tensor, preact: nn.Module | None = None) -> Tensor:
        """The last block's activation; ``preact`` is called with it as it was before its ReLU."""
        *first, last = self
        for block in first:
            x = block(x)
        y: Tensor = last(x, preact)
        return y


def require_sizes(*, num_classes: int, image_size: ImageSize, channels: int, width: float, least: int) -> None:
    """Raise ``UsageError`` for impossible values, ``least`` being the smallest image size."""
    if min(num_classes, channels) < 1 or min(sides(image_size)) < least or not width > 0:
        raise UsageError(
            f"num_classes and channels must be >= 1, image_size >= {least} and width > 0; got {num_classes}, "
            f"{channels}, {plain(image_size)}, {width:g}"
        )


def scaled(count: int, width: float, *, by: int = 1) -> int:
    """``count`` channels times ``width``, to a whole number of ``by``, at least one of them."""
    return by * max(1, round(count * width / by))


def fan_out_normal(model: nn.Module, *, linear: float | None = None) -> None:
    """Convolutions' weights as He et al. 2015 (arXiv 1502.01852, eq. 14) have them; their biases are 0.

    Args:
        model: whose weights are drawn anew, from torch's global random state.
        linear: standard deviation of linear layers' weights, whose biases are 0 then; None: they stay.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear) and linear is not None:
            nn.init.normal_(module.weight, std=linear)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, **more: Any) -> nn.Conv2d:
    """Without bias, and with as much padding as keeps the map's size at stride 1."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False, **more)
