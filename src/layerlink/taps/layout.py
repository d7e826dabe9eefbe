"""Where the channels of an activation of three axes stand: second, (N, C, L), or last, in tokens (N, L, D)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from layerlink.taps.tap import Tap

_OF_MAPS = (
    *(nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.InstanceNorm1d, nn.GroupNorm),
    *(nn.MaxPool1d, nn.AvgPool1d, nn.LPPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d),
)
_OF_TOKENS = (nn.Linear, nn.Bilinear, nn.LayerNorm, nn.Embedding, nn.RNNBase, nn.MultiheadAttention)


@dataclass(frozen=True)
class Layout:
    """What is told of an activation of three axes.

    Args:
        is_map: whether it is (N, C, L), as of one-dimensional convolutions; else (N, L, D).
        channels: how many it may have, where it is a map; empty where any.
    """

    is_map: bool
    channels: frozenset[int] = frozenset()

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether an activation of this shape is a map."""
        return self.is_map and len(shape) == 3 and (not self.channels or shape[1] in self.channels)


def layout_at(model: nn.Module | None, tap: Tap) -> Layout | None:
    """Whether what a tap gives is (N, C, L), as of one-dimensional convolutions, where it has three axes.

    By the structure alone, so that it is the same for every batch: of a convolution, a pooling or a norm of channels it
    is; of a linear layer, a norm of tokens or attention it is not; a block is what all of its layers are; an activation
    function is what stands before it.

    Args:
        model: that is read; None where nobody knows it.
        tap: of the output of one of its modules.

    Returns:
        None where nothing, or both, is told: of a block with layers of both kinds, a model's own output, an input, an
        element of several.

    >>> net = nn.Sequential(nn.Conv1d(2, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))
    >>> [layout_at(net, Tap.parse(name)) for name in ("1", "3", "@output")]
    [Layout(is_map=True, channels=frozenset()), Layout(is_map=False, channels=frozenset()), None]
    """
    if model is None or not tap.module or tap.side != "output" or tap.element:
        return None
    *above, name = tap.module.split(".")
    try:
        parents = [model.get_submodule(".".join(above[:depth])) for depth in range(len(above) + 1)]
        path, module = [*above, name], parents[-1].get_submodule(name)
    except AttributeError:
        return None
    found = _kinds(module)
    while not found and parents:
        found = _before(parents.pop(), path.pop())
    return Layout(found == {True}, _channels(module)) if len(found) == 1 else None


def _channels(block: nn.Module) -> frozenset[int]:
    """That the convolutions of a block give: one that turns its map into tokens at the end gives others."""
    convolutions = (it for it in block.modules() if isinstance(it, nn.Conv1d | nn.ConvTranspose1d) and it is not block)
    return frozenset(it.out_channels for it in convolutions)


def _kinds(module: nn.Module) -> set[bool]:
    """Of the layers of a block: true of maps, false of tokens."""
    found = set()
    for layer in _layers(module):
        if isinstance(layer, _OF_MAPS):
            found.add(True)
        elif isinstance(layer, _OF_TOKENS) or type(layer).__name__.endswith(("RMSNorm", "LayerNorm")):
            found.add(False)
    return found


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    yield module
    if not isinstance(module, nn.MultiheadAttention):
        for child in module.children():
            yield from _layers(child)


def _before(parent: nn.Module, name: str) -> set[bool]:
    """Of the last of the parent's modules that stand before this one and tell something."""
    found: set[bool] = set()
    for other, module in parent.named_children():
        if other == name:
            break
        found = _kinds(module) or found
    return found
