"""How alike two layers see the same images: linear centred kernel alignment (CKA).

Source: Kornblith, Norouzi, Lee & Hinton 2019 (arXiv 1905.00414), section 3, linear CKA:

    CKA(X, Y) = ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F)

for features X (N, P) and Y (N, Q) of the same N images, each column with mean 0. It is 1 for features that differ by
a rotation and a factor, and does not ask for P = Q. The same number comes from the images' Gram matrices K = X X^T and
L = Y Y^T: <K, L>_F / (||K||_F ||L||_F). With few images and many features it is biased upwards, also for features
that have nothing to do with each other: compare values of the same layers and images only.
"""

from __future__ import annotations

import torch
from torch import Tensor

_COLUMNS = 8192  # of features that are widened to float64 at a time


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear CKA of two sets of features, 0 to 1; nan where one of them is the same for all images.

    Summed in float64, over Gram matrices or over features, whichever is less work.

    Args:
        first: (N, ...) of any floating-point type; flattened per image.
        second: (N, ...), the same images.

    Raises:
        ValueError: where they are of different numbers of images.
    """
    if len(first) != len(second):
        raise ValueError(f"CKA needs the same images on both sides; got {len(first)} and {len(second)}")
    x, y = first.flatten(1), second.flatten(1)
    count, p, q = len(x), x.shape[1], y.shape[1]
    if count**2 * (p + q) <= count * (p * p + q * q + p * q):
        return cka_of_grams(centred_gram(x), centred_gram(y))
    x, y = (features.double() - features.double().mean(dim=0) for features in (x, y))
    return _ratio((y.T @ x).square().sum(), (x.T @ x).norm() * (y.T @ y).norm())


def centred_gram(features: Tensor) -> Tensor:
    """Inner products of the images' features once each feature has mean 0: (N, N) float64 of features (N, ...)."""
    flat = features.flatten(1)
    gram = flat.new_zeros((len(flat), len(flat)), dtype=torch.float64)
    for part in torch.split(flat, _COLUMNS, dim=1):
        wide = part.double()
        wide = wide - wide.mean(dim=0)
        gram.addmm_(wide, wide.T)
    return gram


def cka_of_grams(first: Tensor, second: Tensor) -> float:
    """Linear CKA from two centred Gram matrices (N, N)."""
    return _ratio((first * second).sum(), first.norm() * second.norm())


def _ratio(above: Tensor, below: Tensor) -> float:
    return float(above / below) if float(below) > 0 else float("nan")
