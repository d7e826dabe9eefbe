"""Centred kernel alignment as a loss: whether the batch looks alike to both sides, up to a rotation."""

from __future__ import annotations

import torch
from torch import Tensor

from layerlink.losses.relations.gram import flat, gram
from layerlink.losses.shapes import require_same_batch

EPSILON = 1e-12
LEAST = 4  # examples that the unbiased estimate needs


def cka(student: Tensor, teacher: Tensor, *, unbiased: bool = True) -> Tensor:
    """``1 - HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`` of the linear kernels ``K = S S^T`` and ``L = T T^T``.

    Args:
        student: (N, ...), flattened; any floating dtype.
        teacher: (N, ...); everything but the batch may differ.
        unbiased: estimate HSIC without bias; else the plain one of centred Gram matrices, which finds features of few
            examples and many numbers alike, whatever they are.

    Returns:
        Scalar, float32 or wider, 0..2 (0..1 with ``unbiased=False``); 0 for features that differ by a rotation, a
        factor and a shift; 1 where a side is the same for all examples. Of fewer than four examples the unbiased
        estimate does not exist: the loss is 0 then, without a gradient that moves anything.

    Raises:
        ShapeError: where they are not of the same examples.

    Source: Kornblith et al. 2019 (arXiv 1905.00414), eq. 3 and 4; the unbiased HSIC of Song et al. 2012 (JMLR 13), as
        Nguyen, Raghu & Kornblith 2021 (arXiv 2010.15327) use it.
    Differs: most code in use takes the biased one: ``unbiased=False``.
    Weight: 1.
    When: widths differ and any rotation of the teacher's features would do; batches of 32 examples and more.
    Cost: N^2 D time, N^2 memory.

    >>> import torch
    >>> f = torch.rand(8, 3)
    >>> float(cka(f, 2 * f + 1)) < 1e-5
    True
    """
    require_same_batch("cka", student, teacher)
    if unbiased and len(student) < LEAST:
        return (flat(student) * 0).sum()
    own, other = (_unit(_centred(_kernel(side), unbiased)) for side in (student, teacher.detach()))
    return 1 - (own * other).sum()


def _kernel(values: Tensor) -> Tensor:
    """(N, N) of features with mean 0; in units of their size, which does not matter but may leave float32 squared."""
    rows = flat(values)
    return gram(_unit(rows - rows.mean(0)))


def _centred(kernel: Tensor, unbiased: bool) -> Tensor:
    """Such that inner products of two of these are HSIC, up to a factor that depends on N alone."""
    if not unbiased:
        return kernel  # of features with mean 0
    # Szekely & Rizzo 2014: the unbiased HSIC is the inner product of "U-centred" matrices, / (N (N - 3)).
    count = len(kernel)
    apart = 1 - torch.eye(count, dtype=kernel.dtype, device=kernel.device)
    kernel = kernel * apart
    rows = kernel.sum(0)
    moved = kernel - (rows[:, None] + rows[None]) / (count - 2) + rows.sum() / ((count - 1) * (count - 2))
    return moved * apart


def _unit(values: Tensor) -> Tensor:
    """Of length 1 as a whole; zeros stay zeros."""
    length: Tensor = torch.linalg.vector_norm(values)
    return values / length.clamp_min(EPSILON)
