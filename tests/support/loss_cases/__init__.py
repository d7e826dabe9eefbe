"""Every loss with inputs, what it needs beside them, and its equation again by loops and NumPy in float64."""

from __future__ import annotations

from loss_cases import dense, maps, outputs, relations, targets, tokens, trained
from loss_cases.base import LossCase, Side

__all__ = ["CASES", "LossCase", "Side"]

CASES = [
    *(*outputs.CASES, *targets.CASES, *maps.CASES, *dense.CASES, *trained.CASES),
    *(*relations.CASES, *tokens.CASES),
]
