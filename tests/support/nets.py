"""Networks to propose links for: renamed, of blocks, with layers that are of no use."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

import layerlink as ll


def images(count: int = 16, size: int = 32, channels: int = 3, seed: int = 0) -> Tensor:
    """Smooth random images, (N, C, size, size)."""
    draw = torch.rand(count, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(draw, size=size, mode="bilinear") - 0.5


def vgg(name: str, width: float = 0.125) -> nn.Module:
    return ll.build_model(name, num_classes=10, image_size=32, width=width)


def renamed(model: nn.Module, letter: str) -> nn.Sequential:
    """A VGG's modules in the same order, every one of them at every depth under another name."""
    parts: list[nn.Module] = []
    for name, child in model.named_children():
        if name.startswith("hidden") and not any(isinstance(it, nn.Flatten) for it in parts):
            parts.append(nn.Flatten())
        parts.append(_renamed(child, letter))
    return _named(parts, letter)


def _renamed(module: nn.Module, letter: str) -> nn.Module:
    return _named([_renamed(it, letter) for it in module], letter) if isinstance(module, nn.Sequential) else module


def _named(parts: list[nn.Module], letter: str) -> nn.Sequential:
    return nn.Sequential(OrderedDict((f"{letter}{7 * place % 101}", part) for place, part in enumerate(parts)))


class Wrapped(nn.Module):
    """A module inside of another one, which gives what it gives."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.within = inner

    def forward(self, *args: Tensor) -> Tensor:
        out: Tensor = self.within(*args)
        return out


class Block(nn.Module):
    """Two layers beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.two(self.one(x).relu())
        return out


def blocks(count: int, width: int = 4, size: int = 8) -> nn.Sequential:
    """A stem, so many blocks of one size, a head."""
    body = nn.Sequential(*(Block(width) for _ in range(count)))
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), body, nn.Flatten(), nn.Linear(width * size**2, 10))
