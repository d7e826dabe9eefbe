"""Small data sets and networks of other tasks than classification, as a user would name them in a recipe."""

from __future__ import annotations

import torch
from sklearn.metrics import matthews_corrcoef
from torch import Tensor, nn

from layerlink.data import ImageSet, Source
from layerlink.tasks import Classification, WithMetrics


def squares(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Grey images (N, 1, 8, 8) uint8 with bright quarters, and which of the four are bright, (N, 4)."""
    draw = torch.Generator().manual_seed(seed)
    bright = torch.rand(count, 4, generator=draw) > 0.5
    quarters = bright.view(count, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)
    noise = torch.randint(0, 60, (count, 1, 8, 8), generator=draw)
    return (noise + 180 * quarters).to(torch.uint8), bright


def of(task: str, train: int = 120, test: int = 40) -> Source:
    """The data set of a task: which quarters are bright, a map of them, or how much is."""
    sets = []
    for count, seed in ((train, 0), (test, 1)):
        images, bright = squares(count, seed)
        if task == "multi-label":
            labels, names = bright.to(torch.uint8), ("a", "b", "c", "d")
        elif task == "segmentation":
            labels = bright.view(count, 2, 2).repeat_interleave(4, 1).repeat_interleave(4, 2).to(torch.uint8)
            labels[:, 3:5, 3:5] = 255
            names = ("dark", "bright")
        else:
            labels, names = bright.float().sum(1), ("quarters",)
        sets.append(ImageSet(images, labels, names))
    return Source(*sets)


class Net(nn.Module):
    """Two layers, and a head for what the task wants."""

    def __init__(self, outputs: int = 4, width: int = 8, maps: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.head = (
            nn.Conv2d(width, outputs, 1) if maps else nn.Sequential(nn.Flatten(), nn.Linear(width * 64, outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.second(self.first(x).relu()).relu())
        return found


class Matthews:
    """A metric as torchmetrics writes them."""

    def reset(self) -> None:
        self.preds: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.preds.append(preds.argmax(1).flatten())
        self.targets.append(target.flatten())

    def compute(self) -> float:
        return float(matthews_corrcoef(torch.cat(self.targets), torch.cat(self.preds)))


def by_matthews() -> WithMetrics:
    """Classification that is selected by a metric of another package."""
    return WithMetrics(Classification(), {"matthews": Matthews()}, "matthews")


def net(outputs: int = 4, width: int = 8, maps: bool = False) -> nn.Module:
    """A student or a teacher."""
    return Net(outputs, width, maps)
