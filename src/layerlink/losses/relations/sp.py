"""Similarity-preserving distillation: which examples of a batch look alike."""

from __future__ import annotations

from torch import Tensor

from layerlink.losses.relations.gram import flat, gram
from layerlink.losses.shapes import require_same_batch, unit


def sp(student: Tensor, teacher: Tensor) -> Tensor:
    """``|G_s - G_t|^2 / N^2``, with ``G`` the batch's Gram matrix of flattened activations, its rows L2-normalised.

    Args:
        student: (N, ...), any floating dtype.
        teacher: (N, ...); everything but the batch may differ.

    Returns:
        Scalar, float32 or wider, >= 0; 0 for equal similarities. The activations' scale does not matter.

    Raises:
        ShapeError: where they are not of the same examples.

    Source: Tung & Mori 2019 (arXiv 1907.09682), eq. 2 to 4.
    Weight: 3000, at the last map alone.
    When: layers of any shapes, and batches that are not small.
    Cost: one product N x N a side.

    >>> import torch
    >>> f = torch.rand(4, 3)
    >>> float(sp(f, 2 * f)) < 1e-12
    True
    """
    teacher = teacher.detach()
    require_same_batch("sp", student, teacher)
    apart = _similarities(student) - _similarities(teacher)
    return apart.square().sum() / len(student) ** 2


def _similarities(values: Tensor) -> Tensor:
    return unit(gram(flat(values)), 1)
