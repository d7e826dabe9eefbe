"""Every loss with inputs, what it needs beside them, and its equation again by loops and NumPy in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
    """

    name: str
    student: tuple[tuple[int, ...], ...]
    teacher: tuple[tuple[int, ...], ...]
    reference: Callable[..., float] | None
    options: Mapping[str, Any] = field(default_factory=dict)
    at_equality: float | None = 0.0
    masked: tuple[int, ...] | None = None

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
            "labels": torch.arange(count) * 3 % 4,
            "indices": torch.arange(count) * 7 % TRAIN_SIZE,
            "mask": mask,
            "progress": 0.5,
        }
        return {name: known[name] for name in self.kind.needs()}

    def build(self, dtype: torch.dtype = torch.float64) -> Callable[..., Tensor]:
        torch.manual_seed(5)
        shapes = [tuple(torch.Size((2, *shape)) for shape in side) for side in (self.student, self.teacher)]
        own, other = (side[0] if self.kind.taps == 1 else side for side in shapes)
        loss = self.kind.build(own, other, self.options, Facts(train_size=TRAIN_SIZE, num_classes=4))
        return loss.to(dtype) if isinstance(loss, torch.nn.Module) else loss


def log_softmax(z: Array) -> Array:
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def kl(log_s: Array, log_t: Array) -> float:
    return float(sum(math.exp(t) * (t - s) for s, t in zip(log_s, log_t, strict=True)))


def _kept(shape: tuple[int, ...], mask: Array | None) -> list[tuple[int, ...]]:
    """Places of examples and positions."""
    return [place for place in np.ndindex(shape) if mask is None or mask[place]]


def _by_position(values: Array) -> Array:
    """Channels last."""
    return values if values.ndim == 3 else np.moveaxis(values, 1, -1)


def mse(s: Array, t: Array, mask: Array | None = None) -> float:
    s, t = _by_position(s), _by_position(t)
    found = [(a - b) ** 2 for place in _kept(s.shape[:-1], mask) for a, b in zip(s[place], t[place], strict=True)]
    return float(np.mean(found))


def l1(s: Array, t: Array, mask: Array | None = None) -> float:
    s, t = _by_position(s), _by_position(t)
    found = [abs(a - b) for place in _kept(s.shape[:-1], mask) for a, b in zip(s[place], t[place], strict=True)]
    return float(np.mean(found))


def cosine(s: Array, t: Array, mask: Array | None = None) -> float:
    s, t = _by_position(s), _by_position(t)
    return float(
        np.mean(
            [
                1 - np.dot(s[p], t[p]) / math.sqrt(np.dot(s[p], s[p]) * np.dot(t[p], t[p]))
                for p in _kept(s.shape[:-1], mask)
            ]
        )
    )


def kd(s: Array, t: Array, mask: Array | None = None, temperature: float = 4.0) -> float:
    s, t = _by_position(s), _by_position(t)
    log_s, log_t = log_softmax(s / temperature), log_softmax(t / temperature)
    return temperature**2 * float(np.mean([kl(log_s[p], log_t[p]) for p in _kept(s.shape[:-1], mask)]))


def binary_kd(s: Array, t: Array, mask: Array | None = None, temperature: float = 1.0) -> float:
    total = []
    for p in _kept(s.shape[:1], mask):
        for own, other in zip(s[p] / temperature, t[p] / temperature, strict=True):
            p_s, p_t = 1 / (1 + math.exp(-own)), 1 / (1 + math.exp(-other))
            total.append(p_t * math.log(p_t / p_s) + (1 - p_t) * math.log((1 - p_t) / (1 - p_s)))
    return temperature**2 * float(np.mean(total))


def dkd(s: Array, t: Array, labels: Array) -> float:
    total = 0.0
    for own, other, label in zip(s / 4, t / 4, labels, strict=True):
        p_s, p_t = np.exp(log_softmax(own)), np.exp(log_softmax(other))
        for p, q, weight in ((p_s[label], p_t[label], 1), (1 - p_s[label], 1 - p_t[label], 1)):
            total += weight * q * math.log(q / p)
        rest = [c for c in range(len(own)) if c != label]
        total += 8 * kl(log_softmax(own[rest]), log_softmax(other[rest]))
    return 16 * total / len(s)


def _pooled(values: Array, height: int, width: int) -> Array:
    rows, columns = values.shape[2] // height, values.shape[3] // width
    found = np.zeros((*values.shape[:2], height, width))
    for i, j in itertools.product(range(height), range(width)):
        cell = values[:, :, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
        found[:, :, i, j] = cell.mean(axis=(2, 3))
    return found


def at(s: Array, t: Array) -> float:
    height, width = min(s.shape[2], t.shape[2]), min(s.shape[3], t.shape[3])
    found = []
    for own, other in zip(_pooled(s, height, width), _pooled(t, height, width), strict=True):
        a, b = ((side**2).mean(axis=0).ravel() for side in (own, other))
        a, b = a / math.sqrt((a**2).sum()), b / math.sqrt((b**2).sum())
        found += [(x - y) ** 2 for x, y in zip(a, b, strict=True)]
    return float(np.mean(found))


def hcl(s: Array, t: Array) -> float:
    parts = [(1.0, ((s - t) ** 2).mean())]
    for place, size in enumerate((size for size in (4, 2, 1) if size < s.shape[2]), start=1):
        parts.append((0.5**place, ((_pooled(s, size, size) - _pooled(t, size, size)) ** 2).mean()))
    return float(sum(w * v for w, v in parts) / sum(w for w, _ in parts))


def fsp(s: list[Array], t: list[Array]) -> float:
    def flow(pair: list[Array]) -> Array:
        height = min(side.shape[2] for side in pair)
        first, second = (_pooled(side, height, height) for side in pair)
        return np.einsum("nahw,nbhw->nab", first, second) / height**2

    return float(((flow(s) - flow(t)) ** 2).mean())


def sp(s: Array, t: Array) -> float:
    def similarities(values: Array) -> Array:
        flat = values.reshape(len(values), -1)
        gram = np.array([[np.dot(a, b) for b in flat] for a in flat])
        return gram / np.sqrt((gram**2).sum(axis=1, keepdims=True))

    return float(((similarities(s) - similarities(t)) ** 2).sum() / len(s) ** 2)


def rkd(s: Array, t: Array) -> float:
    def smooth(x: float) -> float:
        return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5

    def distances(values: Array) -> Array:
        found = np.array([[math.dist(a, b) for b in values] for a in values])
        return found / found[found > 0].mean()

    def angle(i: Array, j: Array, k: Array) -> float:
        a, b = j - i, k - i
        length = math.sqrt(np.dot(a, a) * np.dot(b, b))
        return float(np.dot(a, b) / length) if length else 0.0

    s, t = s.reshape(len(s), -1), t.reshape(len(t), -1)
    by_distance = np.mean([smooth(x) for x in (distances(s) - distances(t)).ravel()])
    triples = list(itertools.product(range(len(s)), repeat=3))
    by_angle = np.mean([smooth(angle(s[i], s[j], s[k]) - angle(t[i], t[j], t[k])) for i, j, k in triples])
    return float(25 * by_distance + 50 * by_angle)


def minilm(s: Array, t: Array, mask: Array | None = None, heads: int = 2) -> float:
    found = []
    for n, head in itertools.product(range(len(s)), range(heads)):
        kept = [p for p in range(s.shape[1]) if mask is None or mask[n, p]]
        sides = []
        for side in (s, t):
            width = side.shape[2] // heads
            x = side[n][kept][:, head * width : (head + 1) * width]
            sides.append(log_softmax(x @ x.T / math.sqrt(width)) if kept else x)
        found += [kl(a, b) for a, b in zip(*sides, strict=True)]
    return float(np.mean(found))


VECTOR, TOKENS, MAP = ((6,),), ((7, 6),), ((3, 8, 8),)
CASES = [
    LossCase("mse", VECTOR, VECTOR, mse, masked=()),
    LossCase("mse", TOKENS, TOKENS, mse, masked=(7,)),
    LossCase("mse", MAP, MAP, mse, masked=(8, 8)),
    LossCase("l1", MAP, MAP, l1, masked=(8, 8)),
    LossCase("cosine", TOKENS, TOKENS, cosine, masked=(7,)),
    LossCase("cosine", MAP, MAP, cosine, masked=(8, 8)),
    LossCase("kd", VECTOR, VECTOR, kd, masked=()),
    LossCase("kd", TOKENS, TOKENS, kd, {"temperature": 2.0}, masked=(7,)),
    LossCase("kd", MAP, MAP, kd, masked=(8, 8)),
    LossCase("dkd", VECTOR, VECTOR, dkd),
    LossCase("binary_kd", VECTOR, VECTOR, binary_kd, {"temperature": 2.0}, masked=()),
    LossCase("binary_kd", ((1,),), ((1,),), binary_kd, masked=()),
    LossCase("at", MAP, ((5, 4, 4),), at),
    LossCase("at", MAP, MAP, at),
    LossCase("hcl", MAP, MAP, hcl),
    LossCase("fsp", ((3, 8, 8), (4, 4, 4)), ((3, 4, 4), (4, 4, 4)), fsp, at_equality=None),
    LossCase("sp", MAP, ((5, 2, 2),), sp),
    LossCase("rkd", VECTOR, ((9,),), rkd),
    LossCase("minilm", TOKENS, ((7, 10),), minilm, {"heads": 2}, masked=(7,)),
    LossCase("vid", MAP, ((5, 4, 4),), None, at_equality=None),
    LossCase("vid", VECTOR, ((9,),), None, at_equality=None),
    LossCase("crd", VECTOR, ((9,),), None, {"dim": 8, "negatives": 16}, at_equality=None),
    LossCase("review", ((3, 8, 8), (4, 4, 4)), ((5, 8, 8), (6, 4, 4)), None, at_equality=None),
]
