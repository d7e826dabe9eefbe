"""How a file takes examples, and how the student that it came from does: of images and of texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from layerlink.data.examples import Examples, Inputs


class Taking(ABC):
    """What stands between examples as they are stored, and a file or the student.

    Args:
        longest: tokens that a text may have, so that the second axis is free; None: all inputs have one size.
    """

    longest: int | None

    @abstractmethod
    def taken(self, part: Examples) -> dict[str, Tensor]:
        """Examples as the file takes them, by name and in order."""

    @abstractmethod
    def seen(self, part: Examples) -> Inputs:
        """The same as the student takes them."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Of inputs and preprocessing, to be kept in the file."""

    @abstractmethod
    def example(self, part: Examples) -> Examples:
        """Two of the examples to trace the model by."""

    def timed(self, part: Examples, batch: int) -> Examples:
        """A batch to time by; the examples are repeated where they are fewer."""
        return part.select(torch.arange(batch, device=part.labels.device) % len(part))

    def fastest(self, seen: Inputs) -> Inputs:
        """What the student takes, as it lies in memory where the student is fastest."""
        return seen

    def write_beside(self, folder: Path) -> list[str]:
        """Write what a file needs beside it; the names of these files."""
        return []
