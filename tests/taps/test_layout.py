from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layerlink.taps import Tap
from layerlink.taps.layout import layout_at


class OwnRMSNorm(nn.Module):
    """A norm over the last axis of somebody's own, with its weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class Turned(nn.Sequential):
    """Positions by a convolution, as speech models have them: (N, L, D) to (N, L, D)."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values.transpose(1, 2)).transpose(1, 2)


def conv(*channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(*channels, 3), nn.BatchNorm1d(channels[1]), nn.ReLU())


def squeezed(channels: int) -> nn.Module:
    """Squeeze and excitation: linear layers inside of a block of convolutions."""
    gate = nn.Sequential(nn.Linear(channels, 4), nn.ReLU(), nn.Linear(4, channels))
    return nn.ModuleDict({"conv": conv(channels, channels), "gate": gate, "act": nn.ReLU()})


LAYER = nn.TransformerEncoderLayer(24, 2, 32, batch_first=True)
INNER = nn.Sequential(conv(16, 32), nn.MaxPool1d(2), nn.Dropout())
MODEL = nn.ModuleDict(
    {
        "front": nn.Sequential(nn.Conv1d(2, 16, 3), nn.GELU(), INNER),
        "block": squeezed(32),
        "transposed": nn.ConvTranspose1d(32, 8, 2),
        "after": nn.ReLU(),
        "turned": Turned(nn.Conv1d(24, 24, 3, padding=1), nn.GELU()),
        "encoder": nn.TransformerEncoder(LAYER, 1, enable_nested_tensor=False),
        "own": nn.Sequential(OwnRMSNorm(24), nn.SiLU()),
        "recurrent": nn.GRU(24, 12),
        "first": nn.Identity(),
    }
)


@pytest.mark.parametrize(
    ("tap", "shape", "is_map"),
    [
        ("front.0", (4, 16, 99), True),
        ("front.1", (4, 16, 99), True),  # an activation is what stands before it
        ("front.2", (4, 32, 48), True),
        ("front.2.0", (4, 32, 32), True),  # whatever its length
        ("front.2.1", (4, 32, 48), True),
        ("front.2.2", (4, 32, 48), True),
        ("front", (4, 32, 48), True),
        ("front.0", (4, 16), False),
        ("front.0", (4, 16, 9, 9), False),
        ("block.conv", (4, 32, 48), True),
        ("block", (4, 32, 48), None),  # linear layers and convolutions
        ("block.act", (4, 32, 48), False),  # of what stands before it
        ("transposed", (4, 8, 97), True),
        ("after", (4, 8, 97), True),
        ("turned.0", (4, 24, 50), True),
        ("turned", (4, 50, 24), False),  # tokens again: no convolution of it gives 50 channels
        ("encoder", (4, 50, 24), False),
        ("encoder.layers.0.self_attn", (4, 50, 24), False),
        ("encoder.layers.0.dropout1", (4, 50, 24), False),
        ("own", (4, 50, 24), False),
        ("own.1", (4, 50, 24), False),
        ("recurrent", (4, 50, 24), False),
        ("first", (4, 50, 24), False),
        ("@output", (4, 8, 97), None),
        ("front.0@input", (4, 2, 99), None),
        ("recurrent[0]", (4, 50, 24), None),
        ("nowhere.at.all", (4, 8, 97), None),
    ],
)
def test_layers_tell_where_channels_stand(tap: str, shape: tuple[int, ...], is_map: bool | None) -> None:
    found = layout_at(MODEL, Tap.parse(tap))
    assert (None if found is None else found.takes(shape)) is is_map


def test_nothing_is_told_of_no_model_and_of_layers_that_tell_nothing() -> None:
    assert layout_at(None, Tap("front.0")) is None
    assert layout_at(nn.Sequential(nn.Unflatten(1, (4, 6)), nn.ReLU()), Tap("1")) is None
