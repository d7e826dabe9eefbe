"""Losses of tokens: inputs, and their equations again by loops and NumPy in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np

from loss_cases.base import ATTENTION, TOKENS, VECTOR, Array, LossCase, kept, kl, log_softmax, weights_of
from loss_cases.maps import mse


def minilm(s: Array, t: Array, mask: Array | None = None, heads: int = 2) -> float:
    found = []
    for n, head in itertools.product(range(len(s)), range(heads)):
        asked = [p for p in range(s.shape[1]) if mask is None or mask[n, p]]
        sides = []
        for side in (s, t):
            width = side.shape[2] // heads
            x = side[n][asked][:, head * width : (head + 1) * width]
            sides.append(log_softmax(x @ x.T / math.sqrt(width)) if asked else x)
        found += [kl(a, b) for a, b in zip(*sides, strict=True)]
    return float(np.mean(found))


def minilmv2(s: list[Array], t: list[Array], mask: Array | None = None, heads: int = 48, parts: int = 1) -> float:
    found = []
    for own, other in zip(s, t, strict=True):
        for a, b in zip(np.split(own, parts, axis=2), np.split(other, parts, axis=2), strict=True):
            found.append(minilm(a, b, mask, heads))
    return float(np.mean(found))


def entries(s: Array, mask: Array | None) -> list[tuple[int, ...]]:
    """Places in maps of attention (N, heads, L, L), of a mask of tokens or of pairs."""

    def counts(n: int, i: int, j: int) -> bool:
        if mask is None:
            return True
        return bool(mask[n, i, j] if mask.ndim == 3 else mask[n, i] and mask[n, j])

    return [(n, h, i, j) for n, h, i, j in np.ndindex(s.shape) if counts(n, i, j)]


def attention_mse(s: Array, t: Array, mask: Array | None = None, floor: float | None = -100.0) -> float:
    s, t = (side if floor is None else np.where(side <= floor, 0, side) for side in (s, t))
    return float(np.mean([(s[place] - t[place]) ** 2 for place in entries(s, mask)]))


def attention_kl(s: Array, t: Array, mask: Array | None = None, given: str = "scores") -> float:
    if given == "probabilities":
        s, t = (np.log(np.maximum(side, 1e-12)) for side in (s, t))
    found = []
    for row, places in itertools.groupby(entries(s, mask), key=lambda place: place[:3]):
        kept = [place[3] for place in places]
        found.append(kl(log_softmax(s[row][kept]), log_softmax(t[row][kept])))
    return float(np.mean(found))


def pkd(s: Array, t: Array, mask: Array | None = None, tokens: str = "first", reduction: str = "mean") -> float:
    found = []
    for place in kept(s.shape[:-1], mask):
        if tokens == "all" or len(place) == 1 or place[1] == 0:
            a, b = s[place] / math.sqrt((s[place] ** 2).sum()), t[place] / math.sqrt((t[place] ** 2).sum())
            found.append(((a - b) ** 2).mean() if reduction == "mean" else ((a - b) ** 2).sum())
    return float(np.mean(found))


def tinybert(s: list[Array], t: list[Array], mask: Array | None = None, attention: float = 1.0) -> float:
    known = weights_of("tinybert", s, t, attention=attention)
    projected = s[0] @ known["project.weight"].T + known["project.bias"]
    return mse(projected, t[0], mask) + attention * attention_mse(s[1], t[1], mask)


def uld(s: Array, t: Array, mask: Array | None = None, temperature: float = 1.0) -> float:
    found = []
    for place in kept(s.shape[:-1], mask):
        p, q = (sorted(np.exp(log_softmax(side[place] / temperature)), reverse=True) for side in (s, t))
        found.append(sum(abs(a - b) for a, b in itertools.zip_longest(p, q, fillvalue=0.0)))
    return float(np.mean(found))


CASES = [
    LossCase("minilm", TOKENS, ((7, 10),), minilm, {"heads": 2}, masked=(7,)),
    LossCase("minilmv2", 3 * TOKENS, 3 * ((7, 10),), minilmv2, {"heads": 2}, masked=(7,)),
    LossCase("minilmv2", ((7, 12),), ((7, 18),), minilmv2, {"heads": 2, "parts": 3}, masked=(7,)),
    LossCase("hidden_mse", TOKENS, TOKENS, mse, masked=(7,)),
    LossCase("attention_mse", ATTENTION, ATTENTION, attention_mse, masked=(7, 7)),
    LossCase("attention_mse", ATTENTION, ATTENTION, attention_mse, {"floor": None}, masked=(7,)),
    LossCase("attention_kl", ATTENTION, ATTENTION, attention_kl, masked=(7, 7)),
    LossCase("attention_kl", ATTENTION, ATTENTION, attention_kl, {"given": "probabilities"}, masked=(7,)),
    LossCase("pkd", TOKENS, TOKENS, pkd, masked=(7,)),
    LossCase("pkd", TOKENS, TOKENS, pkd, {"tokens": "all", "reduction": "sum"}, masked=(7,)),
    LossCase("pkd", VECTOR, VECTOR, pkd, masked=()),
    LossCase("tinybert", (*TOKENS, *ATTENTION), ((7, 9), *ATTENTION), tinybert, {"attention": 0.5}, None, masked=(7,)),
    LossCase("uld", TOKENS, ((7, 10),), uld, masked=(7,)),
    LossCase("uld", ((9,),), VECTOR, uld, {"temperature": 2.0}, masked=()),
]
