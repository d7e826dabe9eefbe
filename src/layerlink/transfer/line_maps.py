"""Activations (N, C, L) of one-dimensional convolutions: links take them for maps (N, C, 1, L) of one row.

So every loss and every adapter of maps is one of theirs, too, and no token is made of a channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Size, Tensor, nn

from layerlink.taps.layout import Layout

_OF_MAPS = ("conv1x1", "pool", "resize")  # adapters: who asks for one says that the activations are maps
_OF_TOKENS = ("tokens", "linear")  # or that they are not

Told = tuple[Layout | None, ...]  # of every tap of a side


@dataclass(frozen=True)
class LineMaps:
    """Which activations of a link are taken for maps of one row, where they have three axes.

    What nothing is told of is as the link's other taps are, where these agree. Without an adapter either all are taken
    for maps or none is.

    Args:
        student: what is told of the student's taps.
        teacher: the same of the teacher's.
        adapter: of the link, without its options. One of the user's own gets activations as they are, and what it gives
            is taken for a map where the teacher's activation is.
    """

    student: Told = ()
    teacher: Told = ()
    adapter: str | Callable[..., nn.Module] | None = None

    @property
    def after(self) -> bool:
        """Whether they are maps only behind the adapter."""
        return self.adapter is not None and (not isinstance(self.adapter, str) or ":" in self.adapter)

    def of_student(self, shapes: Sequence[Size]) -> list[bool]:
        """Of the student's activations, as they are read."""
        return self._taken(self.student, shapes)

    def of_teacher(self, shapes: Sequence[Size]) -> list[bool]:
        """Of the teacher's, and so of what adapters give."""
        return self._taken(self.teacher, shapes)

    def _taken(self, told: Told, shapes: Sequence[Size]) -> list[bool]:
        kinds = {it.is_map for it in (*self.student, *self.teacher) if it is not None}
        if self.adapter in _OF_MAPS:
            told = (Layout(is_map=True),) * len(shapes)
        elif self.adapter in _OF_TOKENS or True not in kinds or (self.adapter is None and False in kinds):
            return [False] * len(shapes)
        unknown = Layout(is_map=False not in kinds)
        return [(it or unknown).takes(shape) for it, shape in zip(told, shapes, strict=True)]


def as_maps(values: Sequence[Tensor], taken: Sequence[bool]) -> tuple[Tensor, ...]:
    """Those that are taken for maps as (N, C, 1, L), which is a view."""
    return tuple(value.unsqueeze(2) if is_map else value for value, is_map in zip(values, taken, strict=True))


def as_read(values: Sequence[Tensor], taken: Sequence[bool]) -> tuple[Tensor, ...]:
    """The same as (N, C, L) again."""
    return tuple(value.squeeze(2) if is_map else value for value, is_map in zip(values, taken, strict=True))


def map_shapes(shapes: Sequence[Size], taken: Sequence[bool]) -> tuple[Size, ...]:
    """The shapes of ``as_maps``."""
    return tuple(
        Size((*shape[:2], 1, shape[2])) if is_map else shape for shape, is_map in zip(shapes, taken, strict=True)
    )


def line_shapes(shapes: Sequence[Size], taken: Sequence[bool]) -> tuple[Size, ...]:
    """The shapes of ``as_read``."""
    return tuple(Size((*shape[:2], shape[3])) if is_map else shape for shape, is_map in zip(shapes, taken, strict=True))
