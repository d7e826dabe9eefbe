"""What a run did to its images before its model saw them, as facts that go with the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from layerlink.config.image_size import ImageSize, plain, read_size
from layerlink.data.formats.decode import MOST_PIXELS
from layerlink.data.formats.image_file import decode_file
from layerlink.data.views import Views
from layerlink.errors import LayerlinkError, UsageError
from layerlink.optional import need


@dataclass(frozen=True)
class Preprocessing:
    """Scale and normalise, as in validation: no augmentation.

    Args:
        image_size: pixels that the model gets, of a square or (height, width).
        mean: per channel, where white is 1; subtracted. One number is grey, three are RGB.
        std: per channel, in the same units; divided by.
    """

    image_size: ImageSize
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def channels(self) -> int:
        """Of the images."""
        return len(self.mean)

    def __call__(self, images: Tensor) -> Tensor:
        """What the model gets.

        Args:
            images: (N, C, H, W) uint8.

        Returns:
            (N, C, height, width) float32.
        """
        return Views(self.image_size, self.mean, self.std)(images)

    def read(self, path: Path) -> Tensor:
        """An image's file as the folder source reads it: upright, scaled to cover the size, the centre cut out.

        Returns:
            (C, height, width) uint8.

        Raises:
            BadImageError: where it does not decode.
            UsageError: where the model takes neither grey nor RGB.
            LayerlinkError: where it cannot be read.
        """
        if self.channels not in (1, 3):
            raise UsageError(f"files are read as grey or RGB, and this model takes {self.channels} channels")
        pixels = decode_file(path, self.image_size, as_is=False, most_pixels=MOST_PIXELS)
        if self.channels == 1:
            pillow = need("PIL.Image", "images", "reading images")
            pixels = np.asarray(pillow.fromarray(pixels).convert("L"))[:, :, None]
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).contiguous()

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {"image_size": plain(self.image_size), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def of(cls, facts: Any) -> Preprocessing:
        """What ``facts`` says.

        Raises:
            ValueError: where it says something else.
        """
        if not isinstance(facts, Mapping):
            raise ValueError("preprocessing is a mapping")
        size, mean, std = (facts.get(name) for name in ("image_size", "mean", "std"))
        try:
            sized = read_size(size)
        except ValueError as error:
            raise ValueError(f"image_size {error}") from None
        means, stds = _numbers(mean), _numbers(std)
        if means is None or stds is None or len(means) != len(stds) or min(stds) <= 0:
            raise ValueError(f"mean and std must be as many numbers, std > 0; got {mean!r} and {std!r}")
        return cls(sized, tuple(means), tuple(stds))

    @classmethod
    def of_run(cls, facts: Mapping[str, Any], path: Path) -> Preprocessing:
        """As a run's ``data.json`` has it.

        Raises:
            LayerlinkError: where that is damaged.
        """
        try:
            return cls.of(facts)
        except ValueError as error:
            raise LayerlinkError(f"{path} is damaged: {error}") from None


class Normalised(nn.Module):
    """A model that takes pixels 0..255 of any dtype, at its own size, and normalises them itself.

    Args:
        model: takes what ``preprocessing`` gives.
        preprocessing: its scale is not part of this: images come at ``image_size``.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        std = torch.tensor(preprocessing.std, dtype=torch.float64).view(-1, 1, 1)
        mean = torch.tensor(preprocessing.mean, dtype=torch.float64).view(-1, 1, 1)
        self.register_buffer("scale", (1 / (255 * std)).float())
        self.register_buffer("shift", (-mean / std).float())

    def forward(self, pixels: Tensor) -> Any:
        """What the model gives."""
        return self.model(pixels.to(torch.float32) * self.scale + self.shift)


def _numbers(values: Any) -> list[float] | None:
    """Finite numbers, one or more."""
    found = list(values) if isinstance(values, list | tuple) else []
    right = all(isinstance(value, int | float) and math.isfinite(value) for value in found)
    return [float(value) for value in found] if found and right else None
