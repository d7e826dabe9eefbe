"""How alike two layers see the same images: linear centred kernel alignment (CKA).

Source: Kornblith, Norouzi, Lee & Hinton 2019 (arXiv 1905.00414), section 3, linear CKA:

    CKA(X, Y) = ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F)

for features X (N, P) and Y (N, Q) of the same N images, each column with mean 0. It is 1 for features that differ by
a rotation and a factor, and does not ask for P = Q. The same number comes from the images' Gram matrices K = X X^T and
L = Y Y^T: <K, L>_F / (||K||_F ||L||_F). With few images and many features it is biased upwards, also for features
that have nothing to do with each other: compare values of the same layers and images only.

``BatchedCKA`` has neither that bias nor all images in memory at once: every batch gives an unbiased estimate of each
HSIC, and the estimates are averaged before the ratio is taken.

Sources: Song, Smola, Gretton, Bedo & Borgwardt 2012 (JMLR 13, 1393-1434), eq. 5: the unbiased HSIC_1; Nguyen, Raghu &
Kornblith 2021 (arXiv 2010.15327), eq. 2-4: CKA from batches of it. HSIC_1 is the inner product of U-centred Gram
matrices: Szekely & Rizzo 2014 (arXiv 1310.2926), eq. 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LEAST = 4  # images a batch, below which HSIC_1 is not defined
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


def u_centred(gram: Tensor) -> Tensor:
    """A Gram matrix (N, N) without its diagonal, every row and column of which adds up to 0.

    The inner product of two such matrices, divided by N (N - 3), is HSIC_1. What is added to whole rows and columns,
    such as by features with another mean, does not change it.

    Args:
        gram: symmetric, float64, N >= 4.

    Raises:
        ValueError: where N < 4.
    """
    count = len(gram)
    if count < LEAST:
        raise ValueError(f"the unbiased HSIC needs at least {LEAST} images; got {count}")
    bare = gram.clone().fill_diagonal_(0)
    rows = bare.sum(dim=1)
    centred = bare - (rows[:, None] + rows[None, :]) / (count - 2) + rows.sum() / ((count - 1) * (count - 2))
    return centred.fill_diagonal_(0)


def unbiased_hsic(first: Tensor, second: Tensor) -> float:
    """HSIC_1 of two Gram matrices (N, N) of the same images, N >= 4: 0 on average for features that are independent."""
    count = len(first)
    return float((u_centred(first) * u_centred(second)).sum()) / (count * (count - 3))


class BatchedCKA:
    """Linear CKA of every layer of one set with every layer of another, from batches; numbers are kept, no features.

    A value is the mean of HSIC_1 over batches, divided by the root of the product of the two layers' own means.
    """

    def __init__(self) -> None:
        self._across: Tensor | None = None
        self._own: tuple[Tensor, Tensor] | None = None

    def add(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> None:
        """Count a batch in.

        Args:
            first: a Gram matrix (N, N) a layer, N >= 4.
            second: the same of the other set, of the same images.
        """
        count = len(first[0])
        x, y = (torch.stack([u_centred(gram).flatten() for gram in grams]) for grams in (first, second))
        terms = count * (count - 3)
        across, own = x @ y.T / terms, (x.square().sum(dim=1) / terms, y.square().sum(dim=1) / terms)
        if self._across is None or self._own is None:
            self._across, self._own = across, own
        else:
            self._across = self._across + across
            self._own = self._own[0] + own[0], self._own[1] + own[1]

    def values(self) -> Tensor:
        """(first, second) float64, -1 to 1: about 0 for unrelated layers; nan where a layer is the same for all images.

        Raises:
            ValueError: where no batch was counted in.
        """
        if self._across is None or self._own is None:
            raise ValueError("no batch was counted in")
        return self._across / (self._own[0][:, None] * self._own[1][None, :]).sqrt()  # 0 / 0 is nan
