"""Losses of dense predictions: inputs, and their equations again by loops and NumPy in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np

from loss_cases.base import MAP, Array, LossCase, kl, log_softmax


def cwd(s: Array, t: Array, mask: Array | None = None, temperature: float = 4.0) -> float:
    found, weights = [], []
    for n, c in itertools.product(range(len(s)), range(s.shape[1])):
        where = np.ones(s.shape[2:], dtype=bool) if mask is None else mask[n]
        if where.any():
            log_s, log_t = (log_softmax(side[n, c][where] / temperature) for side in (s, t))
            found.append(kl(log_s, log_t))
            weights.append(where.sum())
    return temperature**2 * float(np.average(found, weights=weights))


def ifvd(s: Array, t: Array, labels: Array, mask: Array | None = None, ignore: int = 255) -> float:
    count, height, width = len(s), s.shape[2], s.shape[3]
    found = []
    for n in range(count):
        places = [place for place in np.ndindex(height, width) if mask is None or mask[n][place]]

        def label(place: tuple[int, int], n: int = n) -> int:
            if labels.ndim == 1:
                return int(labels[n])
            rows, columns = labels.shape[1] / height, labels.shape[2] / width
            return int(labels[n, int((place[0] + 0.5) * rows), int((place[1] + 0.5) * columns)])

        for place in places:
            cosines = []
            for side in (s, t):
                own = side[n][:, place[0], place[1]]
                centre = np.mean([side[n][:, i, j] for i, j in places if label((i, j)) == label(place)], axis=0)
                cosines.append(np.dot(own, centre) / math.sqrt(np.dot(own, own) * np.dot(centre, centre)))
            found.append((cosines[0] - cosines[1]) ** 2 if label(place) != ignore else 0.0)
    return float(np.mean(found))


def skds(s: Array, t: Array, scale: float = 0.5, pool: str = "max") -> float:
    def similarities(values: Array) -> Array:
        height, width = (max(1, int(size * scale)) for size in values.shape[2:])
        starts = itertools.product(range(0, values.shape[2], height), range(0, values.shape[3], width))
        cells = [values[:, :, i : i + height, j : j + width] for i, j in starts]
        nodes = [cell.max(axis=(2, 3)) if pool == "max" else cell.mean(axis=(2, 3)) for cell in cells]
        nodes = [node / np.sqrt((node**2).sum(axis=1, keepdims=True)) for node in nodes]
        return np.array([[(a * b).sum(axis=1) for b in nodes] for a in nodes])

    return float(((similarities(s) - similarities(t)) ** 2).mean())


CASES = [
    LossCase("cwd", MAP, MAP, cwd, masked=(8, 8)),
    LossCase("cwd", ((3, 4, 6),), ((3, 4, 6),), cwd, {"temperature": 1.0}, masked=(4, 6)),
    LossCase("ifvd", ((3, 4, 6),), ((5, 4, 6),), ifvd, masked=(4, 6), labels=(9, 7)),
    LossCase("ifvd", ((3, 5, 5),), ((3, 5, 5),), ifvd, {"ignore": 2}, masked=(5, 5), labels=(5, 5)),
    LossCase("ifvd", ((3, 4, 4),), ((3, 4, 4),), ifvd, masked=(4, 4)),
    LossCase("skds", MAP, ((5, 4, 4),), skds),
    LossCase("skds", ((3, 5, 4),), ((3, 5, 4),), skds, {"pool": "average"}),
    LossCase("skds", ((3, 3, 2),), ((4, 3, 2),), skds, {"scale": 0.0}),
]
