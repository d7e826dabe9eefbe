"""The size of an image: one number of pixels where it is square, else (height, width)."""

from __future__ import annotations

import math
from typing import Any

ImageSize = int | tuple[int, int]
MOST = 4096  # pixels a side that models are given


def sides(size: ImageSize) -> tuple[int, int]:
    """Height and width.

    >>> sides(32), sides((96, 128))
    ((32, 32), (96, 128))
    """
    return (size, size) if isinstance(size, int) else size


def size_of(height: int, width: int) -> ImageSize:
    """The size in its one form: a number where both are the same."""
    return height if height == width else (height, width)


def shown(size: ImageSize) -> str:
    """For people, height first.

    >>> shown(32), shown((96, 128))
    ('32x32', '96x128')
    """
    height, width = sides(size)
    return f"{height}x{width}"


def plain(size: ImageSize) -> int | list[int]:
    """For JSON and YAML; ``read_size`` takes it back."""
    return size if isinstance(size, int) else list(size)


def read_size(value: Any) -> ImageSize:
    """The size that a recipe or a file says.

    Raises:
        ValueError: where it is none.
    """
    found = [value, value] if type(value) is int else value
    if (
        not isinstance(found, list | tuple)
        or len(found) != 2
        or any(type(side) is not int or not 1 <= side <= MOST for side in found)
    ):
        raise ValueError(f"must be a whole number in 1..{MOST}, or two of them, [height, width]; got {value!r:.60}")
    return size_of(found[0], found[1])


def largest(*sizes: ImageSize) -> ImageSize:
    """The smallest size that holds all of them."""
    return size_of(*(max(sides(size)[axis] for size in sizes) for axis in (0, 1)))


def alike(one: ImageSize, other: ImageSize) -> bool:
    """Whether two sizes are of one shape, to the rounding of a pixel."""
    (height, width), (high, wide) = sides(one), sides(other)
    return math.isclose(height * wide, width * high, abs_tol=max(height, width, high, wide))
