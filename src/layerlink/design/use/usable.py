"""A model with everything that it takes to use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.config.image_size import sides
from layerlink.data.formats.decode import BadImageError
from layerlink.data.preprocessing import Preprocessing
from layerlink.data.text.preprocessing import Text, TextPreprocessing
from layerlink.data.views import scaled
from layerlink.errors import UsageError
from layerlink.taps import Observed
from layerlink.taps.modes import evaluating
from layerlink.tasks import Task

BATCH = 64  # images that files are read in


@dataclass(frozen=True)
class Usable:
    """A trained model, what it does to images or texts, what its outputs mean.

    Args:
        model: any callable of a batch as ``preprocessing`` gives it, or of pixels (``takes_pixels``).
        preprocessing: what is done to images before; of texts the tokenizer.
        classes: the names of classes, labels or numbers, in the order of the outputs.
        task: what outputs mean.
        output: the element of what the model gives that holds the outputs; empty where it is a tensor.
        takes_pixels: whether the model normalises uint8 pixels itself.
    """

    model: nn.Module
    preprocessing: Preprocessing | TextPreprocessing
    classes: tuple[str, ...]
    task: Task
    output: str = ""
    takes_pixels: bool = False

    @property
    def of_texts(self) -> bool:
        """Whether it takes texts, and no images."""
        return isinstance(self.preprocessing, TextPreprocessing)

    @torch.no_grad()
    def __call__(self, examples: Tensor | Sequence[Text]) -> Tensor:
        """The outputs for images or texts.

        Args:
            examples: images (N, C, H, W) uint8 of any size; or a list of texts, of pairs where it was trained on such.

        Returns:
            Such as logits (N, classes).

        Raises:
            UsageError: where it takes images and gets texts, or the other way round.
        """
        seen = self._seen(examples)
        with evaluating(self.model):
            return Observed(self.model, "model", output=self.output).logits(seen)

    def _seen(self, examples: Tensor | Sequence[Text]) -> Tensor | Mapping[str, Tensor]:
        if isinstance(self.preprocessing, TextPreprocessing):
            if isinstance(examples, Tensor):
                raise UsageError("the model takes a list of texts; got a tensor")
            return self.preprocessing(examples)
        if not isinstance(examples, Tensor):
            raise UsageError(f"the model takes images, (N, C, H, W) uint8; got {type(examples).__name__}")
        size = self.preprocessing.image_size
        if not self.takes_pixels:
            return self.preprocessing(examples)
        fits = examples.shape[-2:] == sides(size)
        return examples if fits else scaled(examples.float(), size).round().to(torch.uint8)

    def told(self, examples: Tensor | Sequence[Text]) -> list[dict[str, str | float]]:
        """What it says of each image or text, in words and numbers; of classification answer, probability, p CLASS."""
        return self.task.told(self(examples), self.classes)

    def of_files(self, paths: Sequence[Path]) -> Iterator[tuple[Path, dict[str, Any] | str]]:
        """Every file of an image with what is said of it, or with why it cannot be read.

        Raises:
            UsageError: where it takes texts.
            LayerlinkError: where the folder or a package is at fault, and not an image.
        """
        if isinstance(self.preprocessing, TextPreprocessing):
            raise UsageError("the model takes texts: call it with a list of them")
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
