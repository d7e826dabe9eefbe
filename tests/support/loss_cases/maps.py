"""Losses of maps: inputs, and their equations again by loops and NumPy in float64."""

from __future__ import annotations

import math

import numpy as np

from loss_cases.base import MAP, TOKENS, VECTOR, Array, LossCase, by_position, kept, pooled


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


CASES = [
    LossCase("mse", VECTOR, VECTOR, mse, masked=()),
    LossCase("mse", TOKENS, TOKENS, mse, masked=(7,)),
    LossCase("mse", MAP, MAP, mse, masked=(8, 8)),
    LossCase("l1", MAP, MAP, l1, masked=(8, 8)),
    LossCase("cosine", TOKENS, TOKENS, cosine, masked=(7,)),
    LossCase("cosine", MAP, MAP, cosine, masked=(8, 8)),
    LossCase("at", MAP, ((5, 4, 4),), at),
    LossCase("at", MAP, MAP, at),
    LossCase("hcl", MAP, MAP, hcl),
    LossCase("fsp", ((3, 8, 8), (4, 4, 4)), ((3, 4, 4), (4, 4, 4)), fsp, at_equality=None),
    LossCase("vid", MAP, ((5, 4, 4),), None, at_equality=None),
    LossCase("vid", VECTOR, ((9,),), None, at_equality=None),
    LossCase("review", ((3, 8, 8), (4, 4, 4)), ((5, 8, 8), (6, 4, 4)), None, at_equality=None),
]
