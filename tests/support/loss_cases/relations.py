"""Losses of relations: inputs, and their equations again by loops and NumPy in float64."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from hsic import hsic_cka
from loss_cases.base import MAP, VECTOR, Array, LossCase, cosines, kl, log_softmax, pooled, weights_of


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


def pkt(s: Array, t: Array, form: str = "mean") -> float:
    def probabilities(values: Array) -> Array:
        near = (cosines(values.reshape(len(values), -1)) + 1) / 2
        rows = []
        for i, row in enumerate(near):
            row = [0.0 if form == "paper" and j == i else float(x) for j, x in enumerate(row)]
            rows.append([x / sum(row) for x in row])
        return np.array(rows)

    e = 1e-7
    p, q = probabilities(s), probabilities(t)
    count = range(len(s))
    terms = [q[i, j] * math.log((q[i, j] + e) / (p[i, j] + e)) for i in count for j in count]
    return float(np.mean(terms) if form == "mean" else sum(terms))


def cc(s: Array, t: Array, **options: Any) -> float:
    known = weights_of("cc", s, t, **options)
    own, other = (
        np.array([known[f"embed_{name}.weight"] @ row.ravel() + known[f"embed_{name}.bias"] for row in side])
        for name, side in (("student", s), ("teacher", t))
    )
    if options.get("form") == "gaussian":
        gamma, order = options.get("gamma", 0.4), options.get("order", 2)

        def kernel(x: float) -> float:
            series = sum((2 * gamma) ** p / math.factorial(p) * x**p for p in range(order + 1))
            return math.exp(-2 * gamma) * series

        found = zip(cosines(own).ravel(), cosines(other).ravel(), strict=True)
        return float(np.mean([(kernel(a) - kernel(b)) ** 2 for a, b in found]))
    apart = [np.abs(a - b) for a, b in zip(own, other, strict=True)]
    return float(np.mean([np.dot(a, b) for a, b in itertools.pairwise(apart)]))


def ickd(s: Array, t: Array) -> float:
    if s.shape[1] != t.shape[1]:
        known = weights_of("ickd", s, t)
        s = np.einsum("dc,nchw->ndhw", known["embed.0.weight"][:, :, 0, 0], s)
        mean, variance = s.mean(axis=(0, 2, 3), keepdims=True), s.var(axis=(0, 2, 3), keepdims=True)
        s = (s - mean) / np.sqrt(variance + 1e-5)

    def correlations(image: Array) -> Array:
        gram = np.array([[(a * b).sum() for b in image] for a in image])
        return gram / np.sqrt((gram**2).sum(axis=1, keepdims=True))

    found = [((correlations(a) - correlations(b)) ** 2).sum() for a, b in zip(s, t, strict=True)]
    return float(np.mean(found) / t.shape[1])


def cka(s: Array, t: Array, unbiased: bool = True) -> float:
    s, t = s.reshape(len(s), -1), t.reshape(len(t), -1)
    if not unbiased:
        return 1 - hsic_cka(s, t)
    n, one = len(s), np.ones(len(s))

    def hsic(k: Array, m: Array) -> float:  # Song et al. 2012, eq. 5
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        middle = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        return float((np.trace(k @ m) + middle - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3)))

    k, m = s @ s.T, t @ t.T
    return 1 - hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))


def itrd(s: Array, t: Array, correlation: float = 2.0, mutual: float = 1.0, alpha: float = 1.01) -> float:
    known = weights_of("itrd", s, t, correlation=correlation, mutual=mutual, alpha=alpha)
    s, t = s.reshape(len(s), -1), t.reshape(len(t), -1)
    e = s @ known["embed.weight"].T + known["embed.bias"] if known else s
    total = 0.0
    for own, other in zip(e.T, t.T, strict=True):
        z_s, z_t = ((x - x.mean()) / x.std(ddof=1) for x in (own, other))
        total += abs(np.dot(z_s, z_t) / len(s) - 1) ** (2 * alpha)
    g_s, g_t = cosines(e if s.shape[1] != t.shape[1] else s), cosines(t)
    g_st = g_s * g_t
    g_s, g_st = g_s / np.trace(g_s), g_st / np.trace(g_st)
    return correlation * math.log2(total) + mutual * float((g_s**2).sum() - (g_st**2).sum())


def cirkd(s: Array, t: Array, temperature: float = 0.1, pool: int = 1) -> float:
    height, width = min(s.shape[2], t.shape[2]) // pool, min(s.shape[3], t.shape[3]) // pool

    def pixels(values: Array) -> Array:
        return np.moveaxis(pooled(values, height, width), 1, -1).reshape(len(values), height * width, -1)

    found, count = [], height * width
    both = [cosines(pixels(side).reshape(len(side) * count, -1)) / temperature for side in (s, t)]
    for i, j, place in itertools.product(range(len(s)), range(len(s)), range(count)):
        rows = [log_softmax(side[i * count + place, j * count : (j + 1) * count]) for side in both]
        found.append(kl(*rows))
    return float(np.mean(found))


def sinkd(
    s: Array, t: Array, temperature: float = 2.0, epsilon: float = 0.1, iterations: int = 20, reduction: str = "sum"
) -> float:
    p, q = np.exp(log_softmax(s / temperature)), np.exp(log_softmax(t / temperature))
    apart = np.array([[np.abs(a - b).sum() for b in q] for a in p])
    plan = np.exp(-apart / epsilon)
    for _ in range(iterations):
        plan = plan / plan.sum(axis=1, keepdims=True)
        plan = plan / plan.sum(axis=0, keepdims=True)
    return float((plan * apart).sum() / (1 if reduction == "sum" else len(s)))


CASES = [
    LossCase("sp", MAP, ((5, 2, 2),), sp),
    LossCase("rkd", VECTOR, ((9,),), rkd),
    LossCase("crd", VECTOR, ((9,),), None, {"dim": 8, "negatives": 16}, at_equality=None),
    LossCase("pkt", VECTOR, ((9,),), pkt),
    LossCase("pkt", MAP, ((5, 2, 2),), pkt, {"form": "paper"}),
    LossCase("cc", VECTOR, ((9,),), cc, {"dim": 8}, at_equality=None),
    LossCase("cc", MAP, ((5, 2, 2),), cc, {"dim": 8, "form": "gaussian", "order": 3}, at_equality=None),
    LossCase("ickd", MAP, ((3, 4, 4),), ickd),
    LossCase("ickd", MAP, ((5, 4, 4),), ickd, at_equality=None),
    LossCase("cka", VECTOR, ((9,),), cka),
    LossCase("cka", MAP, ((5, 2, 2),), cka, {"unbiased": False}),
    LossCase("itrd", VECTOR, ((9,),), itrd, at_equality=None),
    LossCase("itrd", VECTOR, VECTOR, itrd, {"correlation": 1.0, "mutual": 0.5}, at_equality=None),
    LossCase("itrd", VECTOR, VECTOR, itrd, {"mutual": 0.0}, at_equality=None),
    LossCase("itrd", VECTOR, VECTOR, itrd, {"correlation": 0.0}, at_equality=None),
    LossCase("cirkd", ((3, 4, 4),), ((5, 2, 2),), cirkd),
    LossCase("cirkd", MAP, MAP, cirkd, {"temperature": 0.5, "pool": 2}),
    LossCase("sinkd", VECTOR, VECTOR, sinkd, at_equality=None),
    LossCase("sinkd", VECTOR, VECTOR, sinkd, {"epsilon": 0.5, "reduction": "mean"}, at_equality=None),
]
