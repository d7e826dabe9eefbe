"""Where the channels of an activation of three axes stand: second in a map of one axis, last in tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

_CONVOLUTIONS = (nn.Conv1d, nn.ConvTranspose1d)
# Whose weights are a number a channel, wherever the channels stand, or say nothing of tokens.
_OF_CHANNELS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.PReLU)


@dataclass(frozen=True)
class Layout:
    """What a model's layers tell of its activations of three axes: (N, C, L) of ``Conv1d``, or tokens (N, L, D).

    Args:
        channels: that its one-dimensional convolutions give.
        widths: of what its other layers give: linear layers, embeddings, norms over the last axis, recurrent layers.
    """

    channels: frozenset[int] = frozenset()
    widths: frozenset[int] = frozenset()

    def is_map(self, shape: Sequence[int]) -> bool:
        """Whether it is (N, C, L): as many channels as a convolution gives, and no token is as wide as the last axis.

        >>> layout_of(nn.Sequential(nn.Conv1d(2, 64, 3), nn.Flatten(), nn.Linear(64, 10))).is_map((8, 64, 100))
        True
        """
        return len(shape) == 3 and 1 < shape[1] in self.channels and shape[2] not in self.widths


TOKENS = Layout()  # nothing is a map


def layout_of(*models: nn.Module) -> Layout:
    """The layout of activations of one model, or of several that are read as one."""
    modules = [module for model in models for module in model.modules()]
    convolutions = (module for module in modules if isinstance(module, _CONVOLUTIONS))
    channels = frozenset(module.out_channels for module in convolutions)
    return Layout(
        channels, frozenset(width for module in modules for width in _widths(module)) if channels else channels
    )


def _widths(module: nn.Module) -> Iterator[int]:
    """How wide the tokens are that a layer gives."""
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.RNNBase):
        yield (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)
    elif isinstance(module, nn.MultiheadAttention):
        yield module.embed_dim
    elif isinstance(module, nn.Linear | nn.Bilinear):
        yield module.out_features
    elif isinstance(weight, Tensor) and weight.ndim in (1, 2) and not isinstance(module, _OF_CHANNELS):
        yield weight.shape[-1]  # an embedding, a norm over the last axis
