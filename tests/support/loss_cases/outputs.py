"""Losses of outputs: inputs, and their equations again by loops and NumPy in float64."""

from __future__ import annotations

import math

import numpy as np

from loss_cases.base import MAP, TOKENS, VECTOR, Array, LossCase, by_position, kept, kl, log_softmax


def kd(s: Array, t: Array, mask: Array | None = None, temperature: float = 4.0) -> float:
    s, t = by_position(s), by_position(t)
    log_s, log_t = log_softmax(s / temperature), log_softmax(t / temperature)
    return temperature**2 * float(np.mean([kl(log_s[p], log_t[p]) for p in kept(s.shape[:-1], mask)]))


def binary_kd(s: Array, t: Array, mask: Array | None = None, temperature: float = 1.0) -> float:
    total = []
    for p in kept(s.shape[:1], mask):
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


CASES = [
    LossCase("kd", VECTOR, VECTOR, kd, masked=()),
    LossCase("kd", TOKENS, TOKENS, kd, {"temperature": 2.0}, masked=(7,)),
    LossCase("kd", MAP, MAP, kd, masked=(8, 8)),
    LossCase("dkd", VECTOR, VECTOR, dkd),
    LossCase("binary_kd", VECTOR, VECTOR, binary_kd, {"temperature": 2.0}, masked=()),
    LossCase("binary_kd", ((1,),), ((1,),), binary_kd, masked=()),
]
