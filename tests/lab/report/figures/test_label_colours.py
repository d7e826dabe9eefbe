from __future__ import annotations

import numpy as np
import pytest

from layerlink.lab.report.figures.label_colours import IGNORED, as_seen, distances, label_colours


@pytest.mark.parametrize(("count", "least"), [(2, 80), (11, 24), (21, 16), (150, 3.5)])
def test_colours_are_apart_for_every_vision(count: int, least: float) -> None:
    every = np.array([IGNORED, *label_colours(count)], dtype=float)
    assert len({tuple(colour) for colour in every}) == count + 1
    seen = as_seen(every)
    apart = distances(seen, seen) + 1e3 * np.eye(count + 1)
    assert apart.min() > least
    assert label_colours(count)[:2] == label_colours(2)


def test_cielab_is_that_of_known_colours() -> None:
    """Lightness and chroma of sRGB's primaries, as any table of them has them (D65)."""
    known = {
        (255, 0, 0): (53.24, 80.09, 67.20),
        (0, 255, 0): (87.73, -86.18, 83.18),
        (0, 0, 255): (32.30, 79.19, -107.86),
    }
    found = as_seen(np.array(list(known), dtype=float))[0]
    assert np.abs(found - np.array(list(known.values()))).max() < 0.15
    white = as_seen(np.array([[255.0, 255, 255], [119, 119, 119]]))
    assert np.abs(white[:, 0] - [100, 0, 0]).max() < 0.1
    assert np.abs(white[:, 1, 1:]).max() < 0.1  # grey is grey to everybody


def test_more_classes_than_colours_begin_again() -> None:
    assert label_colours(800)[728:] == label_colours(800)[:72]
