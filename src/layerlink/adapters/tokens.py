"""Adapters between sequences (N, L, D) and maps (N, C, H, W), and between sequences of other lengths."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.adapters.adapter import Adapter, AdapterError, Shape, shown
from layerlink.adapters.map import Steps, map_steps

MOST_CLASS_TOKENS = 5  # at the front: one for the class, one for distillation, four registers at most


class WithoutFirst(nn.Module):
    """A sequence without its first tokens."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, values: Tensor) -> Tensor:
        """(N, L - count, D), a view."""
        return values[:, self.count :]


class ToMap(nn.Module):
    """Tokens in rows of a map, row by row."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, values: Tensor) -> Tensor:
        """(N, D, H, W), a view of (N, H * W, D)."""
        turned = values.transpose(1, 2)
        return turned.reshape(*turned.shape[:2], *self.size)


class ToTokens(nn.Module):
    """A map's positions as tokens, row by row."""

    def forward(self, values: Tensor) -> Tensor:
        """(N, H * W, C) of (N, C, H, W)."""
        return values.flatten(2).transpose(1, 2)


class ResizedTokens(nn.Module):
    """A sequence of another length by linear interpolation along it."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, values: Tensor) -> Tensor:
        """(N, length, D)."""
        moved = F.interpolate(values.transpose(1, 2), size=self.length, mode="linear", align_corners=False)
        return moved.transpose(1, 2)


def tokens(student: Shape, teacher: Shape) -> Adapter:
    """Between a sequence and a map, or two sequences; class tokens at the front of a sequence are dropped.

    A sequence of k + H * W tokens, k up to 5, is taken for a map of H x W positions after k class tokens: of the other
    side's H and W, else the squarest; beside a map of one row it is a row itself. The map then goes on as for ``auto``.
    Between two sequences the longer one loses class tokens where that makes the lengths equal, else the student's is
    interpolated.

    Raises:
        AdapterError: where no side is a sequence, or one cannot be a map.
    """
    kinds = (len(student), len(teacher))
    if kinds == (3, 3):
        return _between_sequences(student, teacher)
    if kinds == (3, 4):
        dropped, size = _grid(student, (teacher[2], teacher[3]))
        steps = [*_drop(dropped), (f"tokens -> {size[0]}x{size[1]}", ToMap(size))]
        return Adapter([*steps, *map_steps((student[2], *size), teacher[1:])])
    if kinds == (4, 3):
        dropped, size = _grid(teacher, (student[2], student[3]))
        steps = map_steps(student[1:], (teacher[2], *size))
        return Adapter([*steps, (f"{size[0]}x{size[1]} -> tokens", ToTokens())], _drop(dropped))
    raise AdapterError(
        f"tokens is for a sequence (N, L, D) on a side; student gives {shown(student)}, teacher {shown(teacher)}"
    )


def _between_sequences(student: Shape, teacher: Shape) -> Adapter:
    own, other = student[1], teacher[1]
    mapped: Steps = []
    if student[2] != teacher[2]:
        mapped = [(f"linear {student[2]} -> {teacher[2]}", nn.Linear(student[2], teacher[2]))]
    if 0 < own - other <= MOST_CLASS_TOKENS:
        return Adapter([*_drop(own - other), *mapped])
    if 0 < other - own <= MOST_CLASS_TOKENS:
        return Adapter(mapped, _drop(other - own))
    if own == other:
        return Adapter(mapped)
    moved = (f"resize {own} -> {other} tokens", ResizedTokens(other))
    return Adapter([moved, *mapped] if other < own else [*mapped, moved])


def _drop(count: int) -> Steps:
    return [(f"without {count} class token{'s' if count > 1 else ''}", WithoutFirst(count))] if count else []


def _grid(sequence: Shape, like: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """How many class tokens a sequence has, and the map that the others make."""
    length = sequence[1]
    if like[0] == 1:  # as long as it is, in a row
        return 0, (1, length)
    for count in range(min(MOST_CLASS_TOKENS, length - 1) + 1):
        if length - count == like[0] * like[1]:
            return count, like
    for count in range(min(MOST_CLASS_TOKENS, length - 1) + 1):
        side = math.isqrt(length - count)
        if side * side == length - count:
            return count, (side, side)
    raise AdapterError(
        f"{length} tokens are no map: neither {like[0]}x{like[1]} nor a square after up to {MOST_CLASS_TOKENS} class "
        "tokens"
    )
