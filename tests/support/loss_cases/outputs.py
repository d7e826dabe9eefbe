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


def kd_form(
    s: Array, t: Array, mask: Array | None = None, form: str = "", mix: float = 0.5, temperature: float = 4.0
) -> float:
    s, t = by_position(s) / temperature, by_position(t) / temperature
    found = []
    for place in kept(s.shape[:-1], mask):
        p_s, p_t = np.exp(log_softmax(s[place])), np.exp(log_softmax(t[place]))

        def divergence(p: Array, q: Array) -> float:
            return float(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))

        found.append(
            {
                "reverse": lambda p_s=p_s, p_t=p_t: divergence(p_s, p_t),
                "js": lambda p_s=p_s, p_t=p_t: (
                    mix * divergence(p_t, mix * p_t + (1 - mix) * p_s)
                    + (1 - mix) * divergence(p_s, mix * p_t + (1 - mix) * p_s)
                ),
                "skew": lambda p_s=p_s, p_t=p_t: divergence(p_t, mix * p_t + (1 - mix) * p_s),
                "skew-reverse": lambda p_s=p_s, p_t=p_t: divergence(p_s, (1 - mix) * p_t + mix * p_s),
            }[form]()
        )
    return temperature**2 * float(np.mean(found))


def standardised(z: Array) -> Array:
    return np.array([(row - row.mean()) / (row.std(ddof=1) + 1e-7) for row in z])


def kd_standardised(s: Array, t: Array, mask: Array | None = None, standardise: bool = True) -> float:
    return kd(standardised(s), standardised(t), mask)


def abkd(
    s: Array, t: Array, mask: Array | None = None, alpha: float = 0.8, beta: float = 0.3, temperature: float = 4.0
) -> float:
    s, t = by_position(s) / temperature, by_position(t) / temperature
    found = []
    for place in kept(s.shape[:-1], mask):
        total = 0.0
        for p, q in zip(np.exp(log_softmax(t[place])), np.exp(log_softmax(s[place])), strict=True):
            both = alpha + beta
            total += p**alpha * q**beta - alpha / both * p**both - beta / both * q**both
        found.append(-total / (alpha * beta))
    return float(np.mean(found))


def ttm(s: Array, t: Array, mask: Array | None = None, exponent: float = 0.1, weighted: bool = False) -> float:
    s, t = by_position(s), by_position(t)
    found = []
    for place in kept(s.shape[:-1], mask):
        powers = np.exp(log_softmax(t[place])) ** exponent
        q = powers / powers.sum()
        value = float((q * (np.log(q) - log_softmax(s[place]))).sum())
        found.append(value * powers.sum() if weighted else value)
    return float(np.mean(found))


def wttm(s: Array, t: Array, mask: Array | None = None, exponent: float = 0.1) -> float:
    return ttm(s, t, mask, exponent, weighted=True)


def dist(s: Array, t: Array, temperature: float = 4.0, inter: float = 1.0, intra: float = 1.0) -> float:
    p_s, p_t = np.exp(log_softmax(s / temperature)), np.exp(log_softmax(t / temperature))
    rows = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p_s, p_t, strict=True)])
    columns = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p_s.T, p_t.T, strict=True)])
    return float(temperature**2 * (inter * (1 - rows) + intra * (1 - columns)))


def mlkd(s: Array, t: Array, views: int = 1, confident: float = 0.5) -> float:
    total, count = 0.0, len(s) // views
    for view in range(views):
        own, other = (side[view * count : (view + 1) * count] for side in (s, t))
        for temperature in (2.0, 3.0, 4.0, 5.0, 6.0):
            p_s, p_t = (np.exp(log_softmax(side / temperature)) for side in (own, other))
            sure = sorted(range(count), key=lambda n, p=p_t: -p[n].max())[: count - int(confident * count)]
            total += temperature**2 * np.mean([kl(np.log(p_s[n]), np.log(p_t[n])) for n in sure])
            total += ((p_s.T @ p_s - p_t.T @ p_t) ** 2).sum() / p_s.shape[1]
            total += ((p_s @ p_s.T - p_t @ p_t.T) ** 2).sum() / count
    return float(total)


def topk_kl(s: Array, t: Array, mask: Array | None = None, k: int = 2, temperature: float = 1.0) -> float:
    s, t = by_position(s) / temperature, by_position(t) / temperature
    found = []
    for place in kept(s.shape[:-1], mask):
        p_s, p_t = np.exp(log_softmax(s[place])), np.exp(log_softmax(t[place]))
        top = sorted(range(len(p_t)), key=lambda c, p=p_t: -p[c])[:k]
        pairs = [(p_t[c], p_s[c]) for c in top]
        pairs.append((1 - sum(p for p, _ in pairs), 1 - sum(q for _, q in pairs)))
        found.append(sum(p * math.log(p / q) for p, q in pairs if p > 1e-14))
    return temperature**2 * float(np.mean(found))


def ctkd(s: Array, t: Array, mask: Array | None = None, progress: float = 0.5) -> float:
    return kd(s, t, mask, 1 + 20 / (1 + math.exp(-1)))


CASES = [
    LossCase("kd", VECTOR, VECTOR, kd, masked=()),
    LossCase("kd", TOKENS, TOKENS, kd, {"temperature": 2.0}, masked=(7,)),
    LossCase("kd", MAP, MAP, kd, masked=(8, 8)),
    LossCase("binary_kd", VECTOR, VECTOR, binary_kd, {"temperature": 2.0}, masked=()),
    LossCase("binary_kd", ((1,),), ((1,),), binary_kd, masked=()),
    LossCase("kd", VECTOR, VECTOR, kd_form, {"form": "reverse"}, masked=()),
    LossCase("kd", TOKENS, TOKENS, kd_form, {"form": "js", "mix": 0.3}, masked=(7,)),
    LossCase("kd", MAP, MAP, kd_form, {"form": "skew", "mix": 0.1}, masked=(8, 8)),
    LossCase("kd", VECTOR, VECTOR, kd_form, {"form": "skew-reverse", "mix": 0.2}, masked=()),
    LossCase("kd", VECTOR, VECTOR, kd_standardised, {"standardise": True}, masked=()),
    LossCase("abkd", VECTOR, VECTOR, abkd, masked=()),
    LossCase("abkd", TOKENS, TOKENS, abkd, {"alpha": 0.2, "beta": 0.7, "temperature": 1.0}, masked=(7,)),
    LossCase("ttm", VECTOR, VECTOR, ttm, {"exponent": 0.3}, at_equality=None, masked=()),
    LossCase("ttm", TOKENS, TOKENS, ttm, {"exponent": 1.0}, masked=(7,)),
    LossCase("wttm", MAP, MAP, wttm, at_equality=None, masked=(8, 8)),
    LossCase("dist", VECTOR, VECTOR, dist),
    LossCase("dist", VECTOR, VECTOR, dist, {"temperature": 1.0, "inter": 2.0, "intra": 0.5}),
    LossCase("mlkd", VECTOR, VECTOR, mlkd),
    LossCase("mlkd", VECTOR, VECTOR, mlkd, {"confident": 0.0}),
    LossCase("topk_kl", VECTOR, VECTOR, topk_kl, {"k": 2}, masked=()),
    LossCase("topk_kl", TOKENS, TOKENS, topk_kl, {"k": 64, "temperature": 2.0}, masked=(7,)),
    LossCase("ctkd", VECTOR, VECTOR, ctkd, masked=()),
    LossCase("ctkd", TOKENS, TOKENS, ctkd, masked=(7,)),
]
