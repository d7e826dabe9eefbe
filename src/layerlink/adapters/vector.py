"""Adapters of channels that stand last: vectors (N, C) and tokens (N, L, D)."""

from __future__ import annotations

from torch import nn

from layerlink.adapters.adapter import Adapter, AdapterError, Shape, shown


def linear(student: Shape, teacher: Shape, *, bias: bool = True) -> Adapter:
    """A linear map of the last axis; all other axes must be equal.

    Args:
        student: (N, ..., C).
        teacher: (N, ..., D).
        bias: whether it adds one.

    Initial weights are torch's own for a linear layer (uniform within 1 / sqrt(C)), which keep the size of what goes
    through. Source: Romero et al. 2015 (FitNets, arXiv 1412.6550), section 2.2: the regressor, here for vectors.

    Raises:
        AdapterError: where another axis differs.
    """
    if len(student) != len(teacher) or len(student) not in (2, 3) or student[1:-1] != teacher[1:-1]:
        raise AdapterError(
            f"linear maps the last axis of (N, C) or (N, L, D), the others being equal; student gives "
            f"{shown(student)}, teacher {shown(teacher)}"
        )
    return Adapter([(f"linear {student[-1]} -> {teacher[-1]}", nn.Linear(student[-1], teacher[-1], bias=bias))])
