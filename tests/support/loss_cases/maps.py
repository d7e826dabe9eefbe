"""Losses of maps: inputs, and their equations again by loops and NumPy in float64."""

from __future__ import annotations

import math

import numpy as np
import torch

from loss_cases import targets
from loss_cases.base import (
    MAP,
    TOKENS,
    VECTOR,
    Array,
    LossCase,
    by_position,
    head,
    kept,
    kl,
    log_softmax,
    pooled,
)


def mse(s: Array, t: Array, mask: Array | None = None) -> float:
    s, t = by_position(s), by_position(t)
    found = [(a - b) ** 2 for place in kept(s.shape[:-1], mask) for a, b in zip(s[place], t[place], strict=True)]
    return float(np.mean(found))


def l1(s: Array, t: Array, mask: Array | None = None) -> float:
    s, t = by_position(s), by_position(t)
    found = [abs(a - b) for place in kept(s.shape[:-1], mask) for a, b in zip(s[place], t[place], strict=True)]
    return float(np.mean(found))


def cosine(s: Array, t: Array, mask: Array | None = None) -> float:
    s, t = by_position(s), by_position(t)
    return float(
        np.mean(
            [
                1 - np.dot(s[p], t[p]) / math.sqrt(np.dot(s[p], s[p]) * np.dot(t[p], t[p]))
                for p in kept(s.shape[:-1], mask)
            ]
        )
    )


def at(s: Array, t: Array) -> float:
    height, width = min(s.shape[2], t.shape[2]), min(s.shape[3], t.shape[3])
    found = []
    for own, other in zip(pooled(s, height, width), pooled(t, height, width), strict=True):
        a, b = ((side**2).mean(axis=0).ravel() for side in (own, other))
        a, b = a / math.sqrt((a**2).sum()), b / math.sqrt((b**2).sum())
        found += [(x - y) ** 2 for x, y in zip(a, b, strict=True)]
    return float(np.mean(found))


def hcl(s: Array, t: Array) -> float:
    parts = [(1.0, ((s - t) ** 2).mean())]
    for place, size in enumerate((size for size in (4, 2, 1) if size < s.shape[2]), start=1):
        parts.append((0.5**place, ((pooled(s, size, size) - pooled(t, size, size)) ** 2).mean()))
    return float(sum(w * v for w, v in parts) / sum(w for w, _ in parts))


def fsp(s: list[Array], t: list[Array]) -> float:
    def flow(pair: list[Array]) -> Array:
        height = min(side.shape[2] for side in pair)
        first, second = (pooled(side, height, height) for side in pair)
        return np.einsum("nahw,nbhw->nab", first, second) / height**2

    return float(((flow(s) - flow(t)) ** 2).mean())


def smooth_l1(s: Array, t: Array, mask: Array | None = None, beta: float = 1.0) -> float:
    s, t = by_position(s), by_position(t)
    found = [abs(a - b) for place in kept(s.shape[:-1], mask) for a, b in zip(s[place], t[place], strict=True)]
    return float(np.mean([0.5 * x * x / beta if x < beta else x - beta / 2 for x in found]))


def ft(s: Array, t: Array, form: str = "attention", p: float = 1.0) -> float:
    found = []
    for own, other in zip(*sides_of_one_size(s, t), strict=True):
        a, b = (side.ravel() if form == "factor" else (side**2).mean(axis=0).ravel() for side in (own, other))
        a, b = a / math.sqrt((a**2).sum()), b / math.sqrt((b**2).sum())
        found += [abs(x - y) ** p for x, y in zip(a, b, strict=True)]
    return float(np.mean(found))


def sides_of_one_size(s: Array, t: Array) -> tuple[Array, Array]:
    height, width = min(s.shape[2], t.shape[2]), min(s.shape[3], t.shape[3])
    return pooled(s, height, width), pooled(t, height, width)


def nst(s: Array, t: Array, kernel: str = "polynomial") -> float:
    """As a distance between means: of the channels, or of their outer products."""
    found = []
    for own, other in zip(*sides_of_one_size(s, t), strict=True):
        means = []
        for side in (own, other):
            channels = [channel.ravel() / math.sqrt((channel**2).sum()) for channel in side]
            means.append(np.mean([np.outer(x, x) if kernel == "polynomial" else x for x in channels], axis=0))
        found.append(((means[0] - means[1]) ** 2).sum())
    return float(np.mean(found))


def ab(s: Array, t: Array, margin: float = 1.0, factor: float = 0.003) -> float:
    total = 0.0
    for x, y in zip(s.ravel(), t.ravel(), strict=True):
        if y > 0 and x <= margin:
            total += (x - margin) ** 2
        if y <= 0 and x > -margin:
            total += (x + margin) ** 2
    return factor * total / len(s)


def ofd(s: Array, t: Array, margin: torch.Tensor | None = None) -> float:
    s, t = (by_position(side).reshape(-1, by_position(side).shape[-1]) for side in (s, t))
    total = 0.0
    for place, (own, other) in enumerate(zip(s.T, t.T, strict=True)):
        silent = [y for y in other if y < 0]
        least = float(margin[place]) if margin is not None else float(np.mean(silent)) if silent else 0.0
        for x, y in zip(own, (max(y, least) for y in other), strict=True):
            total += (x - y) ** 2 if x > y or y > 0 else 0
    return total / 5


def cat_kd(s: Array, t: Array, resolution: int = 2, normalise: bool = False) -> float:
    sides = []
    for side, seed in ((s, 11), (t, 12)):
        weight = head(side.shape[1], seed).weight.numpy()
        found = pooled(
            np.array([[(w[:, None, None] * f).sum(axis=0) for w in weight] for f in side]), resolution, resolution
        )
        sides.append(found / np.sqrt((found**2).sum(axis=(2, 3), keepdims=True)) if normalise else found)
    return float(((sides[0] - sides[1]) ** 2).mean())


def sdd(
    s: Array,
    t: Array,
    labels: Array,
    host: str = "kd",
    scales: tuple[int, ...] = (1, 2, 4),
    temperature: float = 4.0,
    conflicting: float = 2.0,
) -> float:
    total, cells = 0.0, 0
    for n, label in enumerate(labels):
        sides: list[list[Array]] = []
        for side, seed in ((s, 11), (t, 12)):
            classifier = head(side.shape[1], seed)
            weight, bias = classifier.weight.numpy(), classifier.bias.numpy()
            found = [side[n].mean(axis=(1, 2))]
            for scale in scales:
                rows, columns = side.shape[2] // scale, side.shape[3] // scale
                for i, j in np.ndindex(scale, scale):
                    cell = side[n, :, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
                    found.append(cell.mean(axis=(1, 2)))
            sides.append([weight @ features + bias for features in found])
        whole = sides[1][0].argmax() == label
        for own, other in zip(sides[0][1:], sides[1][1:], strict=True):
            if host == "kd":
                value = temperature**2 * kl(log_softmax(own / temperature), log_softmax(other / temperature))
            elif host == "dkd":
                value = targets.dkd(own[None], other[None], labels[n : n + 1])
            else:
                value = targets.nkd(own[None], other[None], labels[n : n + 1], temperature=temperature)
            total += value * (1 if (other.argmax() == label) == whole else conflicting)
            cells += 1
    return total / cells


CASES = [
    LossCase("mse", VECTOR, VECTOR, mse, masked=()),
    LossCase("mse", TOKENS, TOKENS, mse, masked=(7,)),
    LossCase("mse", MAP, MAP, mse, masked=(8, 8)),
    LossCase("l1", MAP, MAP, l1, masked=(8, 8)),
    LossCase("smooth_l1", TOKENS, TOKENS, smooth_l1, masked=(7,)),
    LossCase("smooth_l1", MAP, MAP, smooth_l1, {"beta": 0.5}, masked=(8, 8)),
    LossCase("cosine", TOKENS, TOKENS, cosine, masked=(7,)),
    LossCase("cosine", MAP, MAP, cosine, masked=(8, 8)),
    LossCase("at", MAP, ((5, 4, 4),), at),
    LossCase("at", MAP, MAP, at),
    LossCase("hcl", MAP, MAP, hcl),
    LossCase("fsp", ((3, 8, 8), (4, 4, 4)), ((3, 4, 4), (4, 4, 4)), fsp, at_equality=None),
    LossCase("ft", MAP, ((5, 4, 4),), ft),
    LossCase("ft", MAP, MAP, ft, {"form": "factor", "p": 2.0}),
    LossCase("nst", MAP, ((5, 4, 4),), nst),
    LossCase("nst", ((6, 2, 2),), ((7, 4, 4),), nst),  # fewer positions than channels
    LossCase("nst", MAP, MAP, nst, {"kernel": "linear"}),
    LossCase("ab", MAP, MAP, ab, at_equality=None),
    LossCase("ab", VECTOR, VECTOR, ab, {"margin": 2.0, "factor": 1.0}, at_equality=None),
    LossCase("ofd", MAP, MAP, ofd),
    LossCase("ofd", TOKENS, TOKENS, ofd),
    LossCase("sdd", MAP, ((5, 4, 4),), sdd, at_equality=None),
    LossCase("sdd", MAP, ((5, 4, 4),), sdd, {"host": "dkd", "conflicting": 3.0}, at_equality=None),
    LossCase("sdd", MAP, ((5, 4, 4),), sdd, {"host": "nkd", "temperature": 1.0, "scales": (2,)}, at_equality=None),
    LossCase("cat_kd", MAP, ((5, 4, 4),), cat_kd, at_equality=None),
    LossCase("cat_kd", MAP, ((5, 4, 4),), cat_kd, {"resolution": 4, "normalise": True}, at_equality=None),
]
