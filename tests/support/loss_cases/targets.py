"""Losses of outputs that know the label: inputs, and their equations again by loops and NumPy in float64."""

from __future__ import annotations

import math

import numpy as np

from loss_cases.base import VECTOR, Array, LossCase, head, kl, log_softmax


def dkd(s: Array, t: Array, labels: Array) -> float:
    total = 0.0
    for own, other, label in zip(s / 4, t / 4, labels, strict=True):
        p_s, p_t = np.exp(log_softmax(own)), np.exp(log_softmax(other))
        for p, q, weight in ((p_s[label], p_t[label], 1), (1 - p_s[label], 1 - p_t[label], 1)):
            total += weight * q * math.log(q / p)
        rest = [c for c in range(len(own)) if c != label]
        total += 8 * kl(log_softmax(own[rest]), log_softmax(other[rest]))
    return 16 * total / len(s)


def _softmax(z: Array) -> Array:
    return np.exp(log_softmax(z))


def nkd(s: Array, t: Array, labels: Array, gamma: float = 1.5, temperature: float = 1.0) -> float:
    total = 0.0
    for own, other, label in zip(s, t, labels, strict=True):
        total -= _softmax(other)[label] * log_softmax(own)[label]
        rest = [c for c in range(len(own)) if c != label]
        q_t, log_q_s = _softmax(other[rest] / temperature), log_softmax(own[rest] / temperature)
        total -= gamma * temperature**2 * float(q_t @ log_q_s)
    return total / len(s)


def wsld(s: Array, t: Array, labels: Array, temperature: float = 4.0) -> float:
    total = 0.0
    for own, other, label in zip(s, t, labels, strict=True):
        ours, theirs = -log_softmax(own)[label], -log_softmax(other)[label]
        weight = 1 - math.exp(-ours / (theirs + 1e-7))
        total += weight * kl(log_softmax(own / temperature), log_softmax(other / temperature))
    return temperature**2 * total / len(s)


def rld(s: Array, t: Array, labels: Array, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0) -> float:
    total = 0.0
    for own, other, label in zip(s, t, labels, strict=True):
        sure, ours = _softmax(other).max(), _softmax(own)[label]
        total += alpha * (sure * math.log(sure / ours) + (1 - sure) * math.log((1 - sure) / (1 - ours)))
        below = [c for c in range(len(own)) if other[c] < other[label]]
        if below:
            total += (
                beta
                * temperature**2
                * kl(log_softmax(own[below] / temperature), log_softmax(other[below] / temperature))
            )
    return total / len(s)


def ofa(s: Array, t: Array, labels: Array, exponent: float = 1.0, temperature: float = 1.0) -> float:
    total = 0.0
    for own, other, label in zip(s, t, labels, strict=True):
        log_p, p_t = log_softmax(own / temperature), _softmax(other / temperature)
        for c in range(len(own)):
            one = float(c == label)
            total -= ((p_t[c] + one) ** exponent - one) * log_p[c]
    return total / len(s)


def wkd(s: Array, t: Array, labels: Array, gamma: float = 600.0, temperature: float = 8.0) -> float:
    weight = head(t.shape[1], 12).weight.numpy()
    total = 0.0
    for own, other, label in zip(s, t, labels, strict=True):
        total -= _softmax(other)[label] * log_softmax(own)[label]
        rest = [c for c in range(len(own)) if c != label]
        a, b = _softmax(other[rest] / temperature), _softmax(own[rest] / temperature)
        cost = np.array([[1 - math.exp(np.corrcoef(weight[i], weight[j])[0, 1] ** 2 - 1) for j in rest] for i in rest])
        kernel, v = np.exp(-cost / 0.05), np.ones(len(rest)) / len(rest)
        for _ in range(10):
            u = a / (kernel @ v)
            v = b / (kernel.T @ u)
        total += gamma * float((u[:, None] * kernel * v[None] * cost).sum())
    return total / len(s)


CLASSES = ((4,),)
CASES = [
    LossCase("dkd", VECTOR, VECTOR, dkd),
    LossCase("nkd", VECTOR, VECTOR, nkd, at_equality=None),
    LossCase("nkd", VECTOR, VECTOR, nkd, {"gamma": 0.5, "temperature": 2.0}, at_equality=None),
    LossCase("wsld", VECTOR, VECTOR, wsld, whole_gradient=False),
    LossCase("rld", VECTOR, VECTOR, rld, at_equality=None),
    LossCase("ofa", VECTOR, VECTOR, ofa, at_equality=None),
    LossCase("ofa", VECTOR, VECTOR, ofa, {"exponent": 1.5}, at_equality=None),
    LossCase("wkd", CLASSES, CLASSES, wkd, {"gamma": 6.0}, at_equality=None),
]
