"""Models as people have them, and a data set of four channels, as a recipe would name them."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from layerlink.lab.run.watch import Watch


class Views(nn.Module):
    """Flattens by ``view``, from maps of 2x2."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(F.max_pool2d(self.one(x).relu(), 4)).relu()
        return self.out(x.view(x.size(0), -1))


class Lazy(nn.Sequential):
    """Lazy layers, a flattening view, and a lazy head that only helps to train."""

    def __init__(self) -> None:
        super().__init__(nn.LazyConv2d(4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
        self.side = nn.LazyLinear(10)

    def forward(self, x: Tensor) -> Any:
        maps = self[1](self[0](x))
        logits = self[3](maps.view(len(x), -1))
        return (logits, self.side(maps.flatten(1))) if self.training else logits


class Draws(nn.Module):
    """Draws from all generators, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        drawn = random.random() + float(np.random.rand()) + float(torch.rand(()))
        return self.out(x.flatten(1) * drawn)


class Remembers(nn.Module):
    """Extra state that is no tensor: it counts its training batches."""

    def __init__(self, odd: bool = False) -> None:
        super().__init__()
        self.out, self.seen, self.odd = nn.Linear(64, 10), 0, odd

    def get_extra_state(self) -> Any:
        return object() if self.odd else {"seen": self.seen, "note": "batches"}

    def set_extra_state(self, state: Any) -> None:
        self.seen = self.seen if self.odd else state["seen"]

    def forward(self, x: Tensor) -> Tensor:
        self.seen += self.training
        return self.out(x.flatten(1))


class InPlaceAtTimes(nn.Module):
    """Overwrites what a link reads, and its inputs, in some steps."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.out = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        now = self.training and bool(torch.rand(()) < 0.4)
        h = self.body(x.add_(0.1) if now else x)
        if now:
            h.mul_(0.5)
        return self.out(self.norm(h).mean((2, 3)))


class Breaks(nn.Module):
    """Raises in the given pass of training, or of validation, over more than two images."""

    def __init__(self, at: int = 5, validation: bool = False) -> None:
        super().__init__()
        self.out, self.at, self.count, self.validation = nn.Linear(64, 10), at, 0, validation

    def forward(self, x: Tensor) -> Tensor:
        counts = self.training != self.validation and len(x) > 2
        self.count += counts
        if counts and self.count == self.at:
            raise RuntimeError("the matrix is singular")
        return self.out(x.flatten(1))


def batch_norm() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))


def four_channels(root: Path | None = None) -> Any:
    """A data set of images with any number of channels."""
    from layerlink.data import ImageSet, Source

    draw = torch.Generator().manual_seed(0)
    sets = []
    for count in (60, 20):
        images = torch.randint(0, 256, (count, 4, 8, 8), generator=draw, dtype=torch.uint8)
        sets.append(ImageSet(images, torch.arange(count) % 3, ("a", "b", "c")))
    return Source(*sets)


def four(channels: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Flatten(), nn.Linear(144, 3))


class Plain(nn.Module):
    """Two convolutions and a head over their means: images of any size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(self.stem(x).relu()).relu().mean((2, 3)))
        return found


def plain(width: int = 8) -> nn.Module:
    return Plain(width)


def seeded_plain(width: int = 8) -> nn.Module:
    torch.manual_seed(5)
    return Plain(width)


class StopAfter(Watch):
    """Asks to stop in the middle of an epoch."""

    def __init__(self, step: int) -> None:
        self.left = step

    def step(self, epoch: int, step: int, images: int, losses: Any) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGINT)


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def onnx_of_images(path: str) -> nn.Module:
    """An ONNX file that takes flat images."""
    from layerlink.models.onnx import OnnxModel

    return nn.Sequential(nn.Flatten(), OnnxModel(path))
