"""Losses of relations: inputs, and their equations again by loops and NumPy in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np

from loss_cases.base import MAP, VECTOR, Array, LossCase


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


CASES = [
    LossCase("sp", MAP, ((5, 2, 2),), sp),
    LossCase("rkd", VECTOR, ((9,),), rkd),
    LossCase("crd", VECTOR, ((9,),), None, {"dim": 8, "negatives": 16}, at_equality=None),
]
