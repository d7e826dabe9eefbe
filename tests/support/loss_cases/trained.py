"""Losses of maps that train something: their equations again in NumPy, with the weights that they begin with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from loss_cases.base import MAP, TOKENS, VECTOR, Array, LossCase, head, kept, pooled

Weights = Mapping[str, Array]
Shapes = tuple[tuple[int, ...], ...]


def trained(name: str, student: Shapes, teacher: Shapes, equation: Callable[..., float], **options: Any) -> LossCase:
    """A case whose equation is given the loss's weights, too: ``build`` always begins with the same."""
    case = LossCase(name, student, teacher, None, options, at_equality=None)

    def reference(s: Any, t: Any, **given: Any) -> float:
        weights = {name: value.numpy() for name, value in case.build().state_dict().items()}  # type: ignore[attr-defined]
        return equation(weights, s, t, **given)

    return replace(case, reference=reference)


def conv(weight: Array, x: Array, bias: Array | None = None) -> Array:
    """Its kernel is of 1 or 3 pixels; positions stay."""
    edge = weight.shape[2] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    found = np.zeros((len(x), len(weight), *x.shape[2:]))
    for i, j in np.ndindex(weight.shape[2:]):
        window = padded[:, :, i : i + x.shape[2], j : j + x.shape[3]]
        found += np.tensordot(weight[:, :, i, j], window, axes=(1, 1)).transpose(1, 0, 2, 3)
    return found if bias is None else found + bias[:, None, None]


def conv_norm(weights: Weights, name: str, x: Array, relu: bool = False) -> Array:
    x = conv(weights[f"{name}.0.weight"], x)
    mean, variance = x.mean(axis=(0, 2, 3), keepdims=True), x.var(axis=(0, 2, 3), keepdims=True)
    scale, shift = (weights[f"{name}.1.{kind}"][:, None, None] for kind in ("weight", "bias"))
    x = (x - mean) / np.sqrt(variance + 1e-5) * scale + shift
    return np.maximum(x, 0) if relu else x


def to_smaller(s: Array, t: Array) -> tuple[Array, Array]:
    height, width = min(s.shape[2], t.shape[2]), min(s.shape[3], t.shape[3])
    return pooled(s, height, width), pooled(t, height, width)


def mgd(weights: Weights, s: Array, t: Array, ratio: float = 0.0, where: str = "channels") -> float:
    s, t = to_smaller(s, t)
    if "align.weight" in weights:
        s = conv(weights["align.weight"], s, weights["align.bias"])
    s = np.maximum(conv(weights["generate.0.weight"], s, weights["generate.0.bias"]), 0)
    s = conv(weights["generate.2.weight"], s, weights["generate.2.bias"])
    return float(((s - t) ** 2).sum() / len(s))


def norm(weights: Weights, s: Array, t: Array, repeats: int = 8) -> float:
    height, width = min(s.shape[2], t.shape[2]), min(s.shape[3], t.shape[3])
    rows, columns = t.shape[2] // height, t.shape[3] // width
    t = t.reshape(*t.shape[:2], height, rows, width, columns).max(axis=(3, 5))
    views = conv_norm(weights, "expand", pooled(s, height, width))
    channels = t.shape[1]
    return float(sum(((views[:, k * channels : (k + 1) * channels] - t) ** 2).mean() for k in range(repeats)))


def vkd(weights: Weights, s: Array, t: Array, mask: Array | None = None) -> float:
    axis = 2 if s.ndim == 3 else 1
    s, t = np.moveaxis(s, axis, -1), np.moveaxis(t, axis, -1)
    values, vectors = np.linalg.eigh(1j * (weights["turn"] - weights["turn"].T))
    whole = ((vectors * np.exp(-1j * values)) @ vectors.conj().T).real @ weights["start"]
    found = []
    for place in kept(s.shape[:-1], mask):
        own = whole[: t.shape[-1], : s.shape[-1]] @ s[place]
        other = (t[place] - t[place].mean()) / math.sqrt(t[place].var() + 1e-5)
        found += [0.5 * x * x if x < 1 else x - 0.5 for x in abs(own - other)]
    return float(np.mean(found))


def factor(weights: Weights, s: Array, t: Array, form: str = "attention", p: float = 1.0) -> float:
    def layers(name: str, x: Array) -> Array:
        for place in (0, 2, 4):
            x = conv(weights[f"{name}.{place}.weight"], x, weights[f"{name}.{place}.bias"])
            x = np.where(x > 0, x, 0.1 * x)
        return x

    def told(x: Array) -> Array:
        flat = (x if form == "factor" else (x**2).mean(axis=1)).reshape(len(x), -1)
        return flat / np.sqrt((flat**2).sum(axis=1, keepdims=True))

    own, other = layers("translator", s), layers("paraphraser", t)
    if form == "attention":
        own, other = to_smaller(own, other)
    return float((abs(told(own) - told(other)) ** p).mean())


def srrl(weights: Weights, s: Array, t: Array, regression: float = 1.0) -> float:
    s, t = (side[:, :, None, None] if side.ndim == 2 else side for side in (s, t))
    s = conv_norm(weights, "regressor", s, relu=True).mean(axis=(2, 3))
    t = t.mean(axis=(2, 3))
    classifier = head(t.shape[1], 12)
    weight, bias = classifier.weight.numpy(), classifier.bias.numpy()
    logits = [np.array([weight @ row + bias for row in side]) for side in (s, t)]
    return float(((s - t) ** 2).mean() + regression * ((logits[0] - logits[1]) ** 2).mean())


def simkd(weights: Weights, s: Array, t: Array, factor: int = 2) -> float:
    s, t = to_smaller(s, t)
    for place in range(3):
        s = conv_norm(weights, f"projector.{place}", s, relu=True)
    return float(((s - t) ** 2).mean())


def afd(weights: Weights, s: list[Array], t: list[Array], dim: int = 128) -> float:
    def attention(values: Array, like: Array) -> Array:
        energy = (values**2).mean(axis=1, keepdims=True)
        height, width = like.shape[2:]
        if height > values.shape[2]:
            energy = energy.repeat(height // values.shape[2], axis=2).repeat(width // values.shape[3], axis=3)
        flat = pooled(energy, height, width).reshape(len(values), -1)
        return flat / np.sqrt((flat**2).sum(axis=1, keepdims=True))

    def mean(values: Array) -> Array:
        return values.mean(axis=(2, 3), keepdims=True)

    keys = [conv_norm(weights, f"keys.{k}", mean(own), relu=True) for k, own in enumerate(s)]
    seen = conv_norm(weights, "between", np.concatenate(keys))[:, :, 0, 0].reshape(len(s), len(s[0]), len(t), dim)
    total = 0.0
    for place, other in enumerate(t):
        query = conv_norm(weights, f"queries.{place}", mean(other))[:, :, 0, 0]
        positions = weights["student_places"] @ weights["teacher_places"][place]
        for n in range(len(other)):
            scores = np.exp([(seen[k, n, place] @ query[n] + positions[k]) / math.sqrt(dim) for k in range(len(s))])
            for k, own in enumerate(s):
                apart = ((attention(own, other) - attention(other, other))[n] ** 2).mean()
                total += scores[k] / scores.sum() * apart / len(other)
    return total


SEVERAL, OTHERS = ((3, 8, 8), (4, 4, 4)), ((5, 8, 8), (6, 4, 4), (7, 2, 2))

CASES = [
    LossCase("vid", MAP, ((5, 4, 4),), None, at_equality=None),
    LossCase("vid", VECTOR, ((9,),), None, at_equality=None),
    LossCase("review", ((3, 8, 8), (4, 4, 4)), ((5, 8, 8), (6, 4, 4)), None, at_equality=None),
    trained("factor", MAP, ((5, 4, 4),), factor),
    trained("factor", MAP, ((6, 8, 8),), factor, form="factor", p=2.0),
    trained("mgd", MAP, ((5, 4, 4),), mgd, ratio=0.0),
    trained("mgd", MAP, MAP, mgd, ratio=0.0),
    LossCase("mgd", MAP, ((5, 8, 8),), None, {"ratio": 0.5}, at_equality=None, draws=True),
    LossCase("mgd", MAP, ((5, 8, 8),), None, {"ratio": 0.5, "where": "positions"}, at_equality=None, draws=True),
    trained("norm", MAP, ((5, 4, 4),), norm),
    trained("norm", ((3, 4, 4),), ((5, 8, 8),), norm, repeats=3),
    replace(trained("vkd", VECTOR, ((9,),), vkd), masked=()),
    replace(trained("vkd", TOKENS, ((7, 4),), vkd), masked=(7,)),
    replace(trained("vkd", MAP, ((5, 8, 8),), vkd), masked=(8, 8)),
    trained("srrl", MAP, ((5, 4, 4),), srrl),
    trained("srrl", VECTOR, ((9,),), srrl, regression=0.5),
    trained("simkd", MAP, ((5, 4, 4),), simkd),
    trained("simkd", ((3, 4, 4),), ((6, 8, 8),), simkd, factor=4),
    trained("afd", SEVERAL, OTHERS, afd),
    trained("afd", SEVERAL, ((5, 16, 16),), afd, dim=8),
]
