"""Images as a file takes them: pixels of one size, as bytes or normalised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from layerlink.config.image_size import ImageSize, sides
from layerlink.data import Views
from layerlink.data.examples import Examples, Inputs
from layerlink.data.images import images_of
from layerlink.data.preprocessing import Preprocessing
from layerlink.design.export.samples import as_seen, pixels
from layerlink.design.export.taking import Taking

IMAGES = "images"  # the input's name


@dataclass(frozen=True)
class TakenImages(Taking):
    """See ``Taking``.

    Args:
        size: pixels that the student takes, of a square or (height, width).
        views: how it sees images.
        takes_bytes: whether the file normalises by itself.
    """

    size: ImageSize
    views: Views
    takes_bytes: bool
    longest: int | None = field(default=None, init=False)

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to images before."""
        return Preprocessing(self.size, self.views.mean, self.views.std)

    def taken(self, part: Examples) -> dict[str, Tensor]:
        """(N, C, size, size), uint8 or float32."""
        ready = pixels(images_of(part, "exporting").rows(slice(None)), self.size)
        return {IMAGES: ready if self.takes_bytes else as_seen(ready, self.views)}

    def seen(self, part: Examples) -> Tensor:
        """From the same pixels, float32."""
        return as_seen(pixels(images_of(part, "exporting").rows(slice(None)), self.size), self.views)

    def example(self, part: Examples) -> Examples:
        """The first two."""
        return part.select(slice(0, 2))

    def fastest(self, seen: Inputs) -> Inputs:
        """Channels last."""
        assert isinstance(seen, Tensor)  # noqa: S101 - as `seen` gives it
        return seen.contiguous(memory_format=torch.channels_last)

    def facts(self) -> dict[str, Any]:
        """Of the one input, its pixels' size and normalisation."""
        how = self.preprocessing
        return {
            "input": {
                "name": IMAGES,
                "dtype": "uint8" if self.takes_bytes else "float32",
                "shape": ["batch", how.channels, *sides(how.image_size)],
            },
            "preprocessing": {**how.facts(), "inside": self.takes_bytes},
        }
