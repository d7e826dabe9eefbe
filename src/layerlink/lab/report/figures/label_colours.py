"""Colours of classes on maps of labels, told apart with every kind of colour vision."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float64]

IGNORED = (0, 0, 0)
_LEVELS = np.linspace(0, 255, 9).round()
# From linear RGB to linear RGB as it is seen without red, green or blue cones: Machado et al. 2009 (IEEE TVCG 15, 6),
# severity 1.
_VISIONS = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # sRGB, D65


@lru_cache(maxsize=8)
def label_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """``count`` colours (red, green, blue), each as far as can be from the others and from black, which is for ignored.

    The distance of two colours is that in CIELAB, as seen by whoever tells them apart worst: with all cones, or without
    one kind. Beyond 728 classes they begin again.

    >>> label_colours(2)
    ((0, 255, 64), (255, 159, 255))
    """
    grid = np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS, indexing="ij"), axis=-1).reshape(-1, 3)
    seen = as_seen(grid)
    chosen = [0]  # black
    nearest = distances(seen, seen[:, :1])[:, 0]
    for _ in range(min(count, len(grid) - 1)):
        best = int(nearest.argmax())
        chosen.append(best)
        nearest = np.minimum(nearest, distances(seen, seen[:, best : best + 1])[:, 0])
    found = [(int(r), int(g), int(b)) for r, g, b in grid[chosen[1:]]]
    return tuple(found[place % len(found)] for place in range(count))


def as_seen(colours: Colours) -> Colours:
    """Colours (N, 3) of 0..255 in CIELAB as each of four kinds of vision sees them: (4, N, 3)."""
    values = colours / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    every = np.clip(np.einsum("vij,nj->vni", _VISIONS, linear), 0, 1)
    xyz = every @ _TO_XYZ.T / (_TO_XYZ.sum(1))
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def distances(one: Colours, other: Colours) -> Colours:
    """How far colours (4, N, 3) are from others (4, M, 3), as seen by whoever tells them apart worst: (N, M)."""
    apart: Colours = np.linalg.norm(one[:, :, None] - other[:, None, :], axis=-1).min(axis=0)
    return apart
