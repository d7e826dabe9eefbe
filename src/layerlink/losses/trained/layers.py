"""What the losses that train something are made of."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation of maps; a single value a channel, which has no spread, goes by the running statistics."""

    def forward(self, values: Tensor) -> Tensor:
        """In the shape of ``values`` (N, C, H, W)."""
        if self.training and values.numel() == values.shape[1]:
            return F.batch_norm(values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(values)


class ConvNorm(nn.Sequential):
    """A convolution without bias, batch norm, and a ReLU where asked for; positions stay.

    Args:
        own: channels in.
        out: channels out.
        size: of the kernel, odd.
        relu: whether a ReLU follows.
    """

    def __init__(self, own: int, out: int, *, size: int = 1, relu: bool = False) -> None:
        layers: list[nn.Module] = [nn.Conv2d(own, out, size, padding=size // 2, bias=False), BatchNorm(out)]
        super().__init__(*layers, *([nn.ReLU()] if relu else []))


def as_maps(values: Tensor) -> Tensor:
    """Vectors (N, C) as maps of one position; maps as they are."""
    return values[:, :, None, None] if values.ndim == 2 else values


def at_weights(values: Tensor, layers: nn.Module) -> Tensor:
    """The values in the dtype of a module's weights."""
    return values.to(next(layers.parameters()).dtype)
