"""What a run learns from: rows with labels, whatever the models take of them; images and texts are two kinds."""

from __future__ import annotations

import dataclasses
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from layerlink.errors import LayerlinkError

UNLABELLED = -1  # the class of an example that has none that is known
Inputs = Tensor | Mapping[str, Tensor]  # what models are called with: one tensor, or several by name
Some = TypeVar("Some", bound="Examples")


class Examples(ABC):
    """Rows, each with its label.

    A kind of examples is a frozen dataclass with these fields and tensors of its own. What models take of them is made
    of ``rows`` by views.
    """

    noun: ClassVar[str] = "examples"
    exactly: ClassVar[str] = "value for value"  # how copies are alike, for messages
    read_on_host: ClassVar[bool] = False  # rows are asked for by places of the host, wherever they go
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_classes(self) -> bool:
        """Whether every example has one class, or none that is known."""
        return self.labels.ndim == 1 and not self.labels.is_floating_point()

    @abstractmethod
    def rows(self, places: Tensor | slice) -> Any:
        """What views make the models' inputs of, for the examples at ``places`` (int64, any order, or a slice)."""

    def ahead(self, steps: Iterable[Tensor], *, again: bool = False) -> Iterator[Any]:
        """The rows of one batch after the other; what has to be read is read before it is asked for.

        Args:
            steps: the places of each batch.
            again: whether the same will be asked for once more, as by the next epoch.
        """
        del again
        return map(self.rows, steps)

    def parted(self, rows: Any, indices: Tensor) -> tuple[Any, Tensor]:
        """What views take of rows that ``ahead`` gave, and the labels of these examples.

        Args:
            rows: of the examples.
            indices: their places, on the device.
        """
        return rows, self.labels[indices]

    def some_labels(self) -> Tensor:
        """Labels to look at before a training: all, where they are there."""
        return self.labels

    @abstractmethod
    def select(self: Some, places: Tensor | slice) -> Some:
        """The examples at ``places``, as a set of their own."""

    @abstractmethod
    def to(self: Some, device: torch.device) -> Some:
        """The same set on ``device``."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """All that the rows are made of, without their labels, by name."""

    @abstractmethod
    def digests(self) -> list[bytes]:
        """Of every example a digest that is equal for equal ones alone."""

    def order(self, generator: torch.Generator, batch_size: int) -> Tensor:
        """The order of an epoch, (N,) int64 on the CPU, each of 0 .. N - 1 once.

        Args:
            generator: seeded with what the order follows from.
            batch_size: of the batches that will be cut from it.
        """
        return torch.randperm(len(self), generator=generator)

    def relabelled(self: Some, labels: Tensor) -> Some:
        """The same rows with other labels."""
        return dataclasses.replace(self, labels=labels)  # type: ignore[type-var]

    @property
    def checksum(self) -> str:
        """The number of examples and a CRC of rows and labels, in order."""
        crc = 0
        for tensor in (*self.tensors().values(), self.labels):
            crc = zlib.crc32(tensor.contiguous().numpy().data, crc)
        return f"{len(self)} {self.noun}, crc32 {crc:08x}"

    def at_once(self, count: int) -> int:
        """How many of ``count`` examples a model is asked about at once, where nothing is trained."""
        return count

    def check_labels(self, rows: int) -> None:
        """Raise ``LayerlinkError`` where labels do not fit ``rows`` rows or their classes."""
        if self.labels.shape[:1] != (rows,) or self.labels.is_complex():
            raise LayerlinkError(
                f"labels must be int64 of shape ({rows},), or begin with it for other tasks than "
                f"classification; got {self.labels.dtype} {tuple(self.labels.shape)}"
            )
        if self.has_classes and len(self.labels):
            low, high = int(self.labels.min()), int(self.labels.max())
            if low < UNLABELLED or high >= len(self.classes):
                raise LayerlinkError(
                    f"labels must lie in 0..{len(self.classes) - 1} ({len(self.classes)} classes); got {low}..{high}"
                )


def copied(inputs: Any) -> Any:
    """Inputs that another model may work on in place."""
    return tree_map_only(Tensor, torch.clone, inputs)


def first(inputs: Any, count: int) -> Any:
    """The first rows of inputs."""
    return tree_map_only(Tensor, lambda it: it[:count], inputs)


def shape_of(inputs: Inputs) -> str:
    """The shape of inputs in words."""
    if isinstance(inputs, Mapping):
        return ", ".join(f"{name} {tuple(value.shape)}" for name, value in inputs.items())
    return str(tuple(inputs.shape))
