"""Losses of tokens: inputs, and their equations again by loops and NumPy in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np

from loss_cases.base import TOKENS, Array, LossCase, kl, log_softmax


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


CASES = [
    LossCase("minilm", TOKENS, ((7, 10),), minilm, {"heads": 2}, masked=(7,)),
]
