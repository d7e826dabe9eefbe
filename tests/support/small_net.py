"""A model that is small and has what often makes a difference: a norm, a ReLU in place, dropout."""

from __future__ import annotations

from torch import Tensor, nn


class Small(nn.Module):
    """A convolution with its norm, dropout and a head."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.drop, self.head = nn.Dropout(0.1), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.drop(self.body(x).mean((2, 3))))
        return scores
