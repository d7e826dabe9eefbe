"""A model that is not the project's own: branches, in-place ReLUs, a reused module, a dict for output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Foreign(nn.Module):
    """Two branches that meet, one ReLU module used three times, features returned beside the scores."""

    def __init__(self, width: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.left = nn.Conv2d(width, width, 1)
        self.right = nn.ModuleDict({"deep-path": nn.Conv2d(width, width, 3, padding=1)})
        self.relu = nn.ReLU(inplace=True)
        self.unused = nn.Linear(3, 3)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> dict[str, Any]:
        x = self.relu(self.norm(self.stem(x)))
        a = self.relu(self.left(x))
        b = F.relu_(self.right["deep-path"](x)) if x.shape[0] else x
        features = self.relu(a + b)
        pooled = features.mean(dim=(2, 3))
        return {"scores": self.head(pooled), "features": [features, pooled]}


class Pair(nn.Module):
    """Returns a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.split = Halves()
        self.head = nn.Linear(2, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.split(x)
        return self.head(first), second


class Halves(nn.Module):
    """Both halves of its input, through a trainable matrix that is the identity at first."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)
        nn.init.eye_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.mix(x)
        return x[:, :2], x[:, 2:]


@dataclass
class Output:
    logits: Tensor
    hidden_states: tuple[Tensor, ...]


class Dataclassed(nn.Module):
    """Returns a dataclass with `logits`, takes keyword arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, *, values: Tensor, scale: float = 1.0) -> Output:
        hidden = self.layer(values * scale)
        return Output(self.head(hidden), (values, hidden))


def images(count: int = 6) -> Tensor:
    return torch.randn(count, 3, 8, 8)
