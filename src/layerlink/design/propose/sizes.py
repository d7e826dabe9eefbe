"""Where a layer's output has positions, and how many."""

from __future__ import annotations

from collections.abc import Sequence

from layerlink.adapters.map import channels_last
from layerlink.taps.layout import Layout

Size = tuple[int, ...]  # (H, W) of a map, (L,) of a sequence or of a map of Conv1d, () without positions


def is_line(shape: Sequence[int], layout: Layout | None) -> bool:
    """Whether a shape, without the examples, is (C, L) of one-dimensional convolutions."""
    return layout is not None and layout.takes((1, *shape))


def size_of(shape: Sequence[int], layout: Layout | None) -> Size:
    """The positions of a layer's output, whose shape is without the examples."""
    if is_line(shape, layout):
        return tuple(shape[1:]) if shape[1] > 1 else ()
    if len(shape) == 3:
        places = shape[:2] if channels_last((1, *shape)) else shape[1:]
        return () if tuple(places) == (1, 1) else tuple(places)
    return tuple(shape[:1]) if len(shape) == 2 and min(shape) > 1 else ()
