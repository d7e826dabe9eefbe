"""A model with everything that it takes to use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.config.image_size import sides
from layerlink.data.formats.decode import BadImageError
from layerlink.data.preprocessing import Preprocessing
from layerlink.data.views import scaled
from layerlink.taps import Observed
from layerlink.taps.modes import evaluating
from layerlink.tasks import Task

BATCH = 64  # images that files are read in


@dataclass(frozen=True)
class Usable:
    """A trained model, what it does to images, what its outputs mean.

    Args:
        model: any callable of a batch as ``preprocessing`` gives it, or of pixels (``takes_pixels``).
        preprocessing: what is done to images before.
        classes: the names of classes, labels or numbers, in the order of the outputs.
        task: what outputs mean.
        output: the element of what the model gives that holds the outputs; empty where it is a tensor.
        takes_pixels: whether the model normalises uint8 pixels itself.
    """

    model: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    task: Task
    output: str = ""
    takes_pixels: bool = False

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """The outputs for images.

        Args:
            images: (N, C, H, W) uint8 of any size.

        Returns:
            Such as logits (N, classes).
        """
        seen = self.preprocessing(images)
        if self.takes_pixels:
            size = self.preprocessing.image_size
            if images.shape[-2:] != sides(size):
                images = scaled(images.float(), size).round().to(torch.uint8)
            seen = images
        with evaluating(self.model):
            return Observed(self.model, "model", output=self.output).logits(seen)

    def told(self, images: Tensor) -> list[dict[str, str | float]]:
        """What it says of each image, in words and numbers; of classification answer, probability, p CLASS."""
        return self.task.told(self(images), self.classes)

    def of_files(self, paths: Sequence[Path]) -> Iterator[tuple[Path, dict[str, Any] | str]]:
        """Every file with what is said of it, or with why it cannot be read.

        Raises:
            LayerlinkError: where the folder or a package is at fault, and not an image.
        """
        for start in range(0, len(paths), BATCH):
            read: dict[Path, Tensor] = {}
            bad: dict[Path, str] = {}
            for path in paths[start : start + BATCH]:
                try:
                    read[path] = self.preprocessing.read(path)
                except BadImageError as error:
                    bad[path] = str(error)
            said = dict(zip(read, self.told(torch.stack(list(read.values()))) if read else [], strict=True))
            for path in paths[start : start + BATCH]:
                yield path, said[path] if path in said else bad[path]
