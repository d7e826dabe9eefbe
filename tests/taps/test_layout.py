from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layerlink.taps.layout import TOKENS, layout_of


class RootMeanSquare(nn.Module):
    """A norm over the last axis of somebody's own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, values: Tensor) -> Tensor:
        return values * self.weight


SPEECH = nn.Sequential(
    nn.Conv1d(1, 32, 10, 5), nn.GroupNorm(32, 32), nn.Conv1d(32, 64, 3), nn.TransformerEncoderLayer(64, 2, 128)
)


@pytest.mark.parametrize(
    ("model", "shape", "is_map"),
    [
        (nn.Sequential(nn.Conv1d(3, 16, 5), nn.BatchNorm1d(16), nn.ReLU()), (8, 16, 96), True),
        (nn.Sequential(nn.Conv1d(3, 16, 5), nn.Flatten(), nn.Linear(16, 10)), (8, 16, 16), True),
        (nn.Sequential(nn.ConvTranspose1d(3, 16, 5)), (8, 16, 96), True),
        (nn.Sequential(nn.Conv1d(3, 1, 5)), (8, 1, 96), False),  # one channel or one token: nothing is told apart
        (nn.Sequential(nn.Conv1d(3, 16, 5)), (8, 16), False),
        (nn.Sequential(nn.Conv2d(3, 16, 5)), (8, 16, 96), False),
        (SPEECH, (8, 32, 99), True),  # of the convolutions in front
        (SPEECH, (8, 97, 64), False),  # of the transformer behind
        (SPEECH, (8, 64, 128), False),  # as wide as its linear layer: tokens
        (nn.Sequential(nn.Conv1d(3, 16, 5), RootMeanSquare(24)), (8, 16, 24), False),
        (nn.Sequential(nn.Conv1d(3, 16, 5), nn.Embedding(99, 24)), (8, 16, 24), False),
        (nn.Sequential(nn.Conv1d(3, 16, 5), nn.GRU(3, 12, bidirectional=True)), (8, 16, 24), False),
        (nn.Sequential(nn.Conv1d(3, 16, 5), nn.MultiheadAttention(24, 2)), (8, 16, 24), False),
    ],
)  # fmt: skip
def test_channels_stand_second_where_a_convolution_gives_as_many(
    model: nn.Module, shape: tuple[int, ...], is_map: bool
) -> None:
    assert layout_of(model).is_map(shape) is is_map


def test_several_models_are_read_as_one_and_none_has_tokens() -> None:
    assert layout_of(nn.Conv1d(3, 16, 5), nn.Linear(3, 24)).is_map((8, 16, 24)) is False
    assert layout_of() == layout_of(nn.Linear(3, 24)) == TOKENS
