"""A loss to be tested, and what its equations in NumPy share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.losses import LOSSES, Facts, LossKind

Side = Tensor | tuple[Tensor, ...]
Array = np.ndarray[Any, Any]
TRAIN_SIZE = 40


@dataclass(frozen=True)
class LossCase:
    """A loss to be tested.

    Args:
        name: in ``LOSSES``.
        student: shapes without the batch, one a tap.
        teacher: the same of the teacher.
        options: of the loss.
        reference: the equation again, of arrays (or lists of them), what it needs and options; None where it is
            trained.
        at_equality: its value where both sides are the same; None where that is no constant, or shapes differ.
        masked: shape of its mask without the batch; None where it takes none.
        whole_gradient: whether its gradient is that of its value; not where a part of it is held fixed.
        labels: shape of its labels without the batch.
        draws: whether it draws something at random in training.
    """

    name: str
    student: tuple[tuple[int, ...], ...]
    teacher: tuple[tuple[int, ...], ...]
    reference: Callable[..., float] | None
    options: Mapping[str, Any] = field(default_factory=dict)
    at_equality: float | None = 0.0
    masked: tuple[int, ...] | None = None
    whole_gradient: bool = True
    labels: tuple[int, ...] = ()
    draws: bool = False

    @property
    def kind(self) -> LossKind:
        return LOSSES[self.name]

    def __str__(self) -> str:
        return f"{self.name}{dict(self.options) or ''}"

    def side(self, shapes: tuple[tuple[int, ...], ...], count: int, seed: int, dtype: torch.dtype) -> Side:
        generator = torch.Generator().manual_seed(seed)
        drawn = tuple(torch.randn(count, *shape, generator=generator, dtype=torch.float64) for shape in shapes)
        values = tuple(2 * value.to(dtype) for value in drawn)
        return values[0] if self.kind.taps == 1 else values

    def pair(self, count: int = 5, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Side, Side]:
        return self.side(self.student, count, 2 * seed, dtype), self.side(self.teacher, count, 2 * seed + 1, dtype)

    def context(self, count: int, mask: Tensor | None = None) -> dict[str, Any]:
        known = {
            "labels": (torch.arange(count * math.prod(self.labels)) * 3 % 4).reshape(count, *self.labels),
            "indices": torch.arange(count) * 7 % TRAIN_SIZE,
            "mask": mask,
            "progress": 0.5,
            "student_head": head(self.student[-1][0], 11),
            "teacher_head": head(self.teacher[-1][0], 12),
            "views": 1,
        }
        return {name: known[name] for name in self.kind.needs()}

    def build(self, dtype: torch.dtype = torch.float64) -> Callable[..., Tensor]:
        torch.manual_seed(5)
        shapes = [tuple(torch.Size((2, *shape)) for shape in side) for side in (self.student, self.teacher)]
        own, other = (side[0] if self.kind.taps == 1 else side for side in shapes)
        loss = self.kind.build(own, other, self.options, Facts(train_size=TRAIN_SIZE, num_classes=4))
        return loss.to(dtype) if isinstance(loss, torch.nn.Module) else loss


def weights_of(name: str, student: Any, teacher: Any, **options: Any) -> dict[str, Array]:
    """The parameters and buffers of a loss that is trained, as ``LossCase.build`` makes it for such arrays."""
    sides = [
        tuple(side.shape[1:] for side in (given if isinstance(given, list) else [given]))
        for given in (student, teacher)
    ]
    built = LossCase(name, *sides, None, options).build()
    assert isinstance(built, nn.Module)
    return {key: value.numpy() for key, value in built.state_dict().items()}


def cosines(values: Array) -> Array:
    """Between rows, by loops."""
    lengths = [math.sqrt(np.dot(row, row)) for row in values]
    return np.array(
        [
            [np.dot(a, b) / (m * n) for b, n in zip(values, lengths, strict=True)]
            for a, m in zip(values, lengths, strict=True)
        ]
    )


class Head(nn.Linear):
    """A classifier that takes features of any dtype."""

    def forward(self, features: Tensor) -> Tensor:
        return F.linear(features, self.weight.to(features.dtype), self.bias.to(features.dtype))


def head(channels: int, seed: int) -> nn.Module:
    """A classifier of 4 classes, always the same; frozen."""
    made = Head(channels, 4, dtype=torch.float64).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in made.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made


def log_softmax(z: Array) -> Array:
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def kl(log_s: Array, log_t: Array) -> float:
    return float(sum(math.exp(t) * (t - s) for s, t in zip(log_s, log_t, strict=True)))


def kept(shape: tuple[int, ...], mask: Array | None) -> list[tuple[int, ...]]:
    """Places of examples and positions."""
    return [place for place in np.ndindex(shape) if mask is None or mask[place]]


def by_position(values: Array) -> Array:
    """Channels last."""
    return values if values.ndim == 3 else np.moveaxis(values, 1, -1)


def pooled(values: Array, height: int, width: int) -> Array:
    rows, columns = values.shape[2] // height, values.shape[3] // width
    found = np.zeros((*values.shape[:2], height, width))
    for i, j in itertools.product(range(height), range(width)):
        cell = values[:, :, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
        found[:, :, i, j] = cell.mean(axis=(2, 3))
    return found


VECTOR, TOKENS, MAP, ATTENTION = ((6,),), ((7, 6),), ((3, 8, 8),), ((2, 7, 7),)
