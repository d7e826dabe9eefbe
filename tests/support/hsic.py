"""CKA by another route than the code's."""

from __future__ import annotations

import math

import numpy as np


def hsic_cka(x: np.ndarray, y: np.ndarray) -> float:
    """CKA as the paper's equations 3 and 4: HSIC of linear kernels with the centring matrix, and its ratio."""
    n = len(x)
    centring = np.eye(n) - np.ones((n, n)) / n

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        return float(np.trace(k @ centring @ m @ centring)) / (n - 1) ** 2

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))
