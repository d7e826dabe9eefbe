"""What is drawn for every view, beside crop and flip."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from layerlink.config.image_size import ImageSize, sides
from layerlink.data.augment import colour, policy
from layerlink.data.augment.draws import uniform, uniform_on_host
from layerlink.data.augment.windows import Windows

Places = NDArray[np.int64]  # in the data set, of a batch's images


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for every view: a window, colours, operations, an erased square, in this order.

    All of it follows from (seed, epoch, image), whatever batch the image is in; views of another size show the same.

    Args:
        resized_crop: least and largest share of the image's area that a view shows, 0 < low <= high <= 1.
        crop_ratio: least and largest factor by which that window is wider than the view's form, > 0.
        rescale: in place of it, least and largest factor by which the image is scaled before a part of the view's size
            is cut out of it, > 0; black, and the ignored label, where it is smaller.
        colour: largest change of brightness, contrast and saturation, each a factor of 1 - c .. 1 + c, and of hue, in
            parts of a turn.
        randaugment: how many operations of ``policy.OPERATIONS``, and how strong, 0..10.
        cutout: side of a square that is erased, as a share of the view's shorter side; its middle is anywhere in it.

    Source: resized crops: Szegedy et al. 2015 (arXiv 1409.4842), section 6; operations: Cubuk et al. 2020 (1909.13719);
    erased squares: DeVries & Taylor 2017 (1708.04552).
    Differs: a window that is too long for the image is cut to it, and not drawn again; hue turns the chroma of YIQ;
    what is moved in from beyond the image is black, and a strength's sign is drawn.
    """

    resized_crop: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    rescale: tuple[float, float] | None = None
    colour: tuple[float, float, float, float] | None = None
    randaugment: tuple[int, float] | None = None
    cutout: float | None = None

    def facts(self) -> dict[str, Any]:
        """For keys and JSON: what is set."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def windows(self, images: Tensor, indices: Tensor, seed: int, epoch: int, size: ImageSize) -> Windows | None:
        """What the views show of images (N, ..., H, W); None: all."""

        def draw(purpose: str, low: float = 0.0, high: float = 1.0) -> Tensor:
            return uniform(indices, seed, epoch, purpose, low, high)

        (height, width), (high, wide) = images.shape[-2:], sides(size)
        if self.resized_crop is not None:
            area = draw("area", *self.resized_crop) * height * width
            low, most = map(_log, self.crop_ratio)
            ratio = draw("ratio", low, most).exp() * wide / high
            tall, broad = (area / ratio).sqrt().clamp_max(height), (area * ratio).sqrt().clamp_max(width)
            longest = float(height), float(width)
        elif self.rescale is not None:
            factor = draw("area", *self.rescale)
            tall, broad = height / factor, width / factor
            longest = height / self.rescale[0], width / self.rescale[0]
        else:
            return None
        return Windows(draw("top") * (height - tall), draw("left") * (width - broad), tall, broad, longest)

    def coloured(self, views: Tensor, indices: Tensor, seed: int, epoch: int, places: Places | None = None) -> Tensor:
        """Views (N, C, H, W) float32 of 0..255 with other colours, moved and turned.

        Args:
            views: to be changed.
            indices: (N,) int64, of images.
            seed: of the views.
            epoch: from 0.
            places: the indices as the host knows them; None: they are read.
        """
        if self.colour is not None:
            changes = zip(
                ("brightness", "contrast", "saturation", "hue"),
                (colour.brightness, colour.contrast, colour.saturation, colour.hue),
                self.colour,
                (1.0, 1.0, 1.0, 0.0),
                strict=True,
            )
            for name, change, most, middle in changes:
                if most:
                    views = change(views, uniform(indices, seed, epoch, name, middle - most, middle + most))
        for which, sign, strength in self._operations(indices, seed, epoch, places):
            views = policy.apply(views, which, sign, strength)
        return views

    def erased(self, views: Tensor, indices: Tensor, seed: int, epoch: int, fill: float = 0.0) -> Tensor:
        """Views (N, ..., H, W) with a square of ``fill``."""
        if self.cutout is None:
            return views
        height, width = views.shape[-2:]
        half = self.cutout * min(height, width) / 2
        inside = []
        for side, purpose in ((height, "square top"), (width, "square left")):
            middle = (uniform(indices, seed, epoch, purpose) * side)[:, None]
            places = torch.arange(side, device=views.device, dtype=torch.float64)[None, :] + 0.5
            inside.append((places - middle).abs() <= half)
        square = (inside[0][:, :, None] & inside[1][:, None, :]).view(
            -1, *(1 for _ in views.shape[1:-2]), height, width
        )
        return views.masked_fill(square, fill)

    def moved(
        self, maps: Tensor, indices: Tensor, seed: int, epoch: int, fill: int, places: Places | None = None
    ) -> Tensor:
        """Maps of the views' size, moved and erased as their images are."""
        for which, sign, strength in self._operations(indices, seed, epoch, places):
            maps = policy.apply_to_maps(maps, which, sign, strength, fill)
        return self.erased(maps, indices, seed, epoch, fill)

    def _operations(
        self, indices: Tensor, seed: int, epoch: int, places: Places | None
    ) -> list[tuple[Tensor, Tensor, float]]:
        count, strength = self.randaugment or (0, 0.0)
        if not count:
            return []
        kinds, known = len(policy.OPERATIONS), indices.cpu().numpy() if places is None else places
        return [
            (
                _whole_below(kinds, uniform_on_host(known, seed, epoch, f"operation {n}", 0, kinds)),
                torch.where(uniform(indices, seed, epoch, f"sign {n}") < 0.5, -1.0, 1.0).double(),
                strength / policy.STRONGEST,
            )
            for n in range(count)
        ]


@lru_cache(maxsize=16)
def _log(number: float) -> float:
    return torch.tensor(number, dtype=torch.float64).log().item()


def _whole_below(most: int, numbers: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.minimum(numbers.astype(np.int64), most - 1))
