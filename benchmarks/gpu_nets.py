"""A vision transformer of torch's own layers, for ``gpu.py``."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Transformer(nn.Module):
    """Patches, encoder layers, the mean of their outputs, a head.

    Args:
        image_size: pixels, a multiple of ``patch``.
        patch: pixels.
        width: features of a token.
        depth: encoder layers.
        num_classes: of the head.
    """

    def __init__(self, image_size: int, patch: int, width: int, depth: int, num_classes: int = 10) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.places = nn.Parameter(torch.zeros(1, (image_size // patch) ** 2, width))
        nn.init.trunc_normal_(self.places, std=0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, width // 64, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N, C) of images (N, 3, H, W)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.places
        for layer in self.layers:
            tokens = layer(tokens)
        scores: Tensor = self.head(self.norm(tokens).mean(1))
        return scores
