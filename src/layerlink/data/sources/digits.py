"""The digits of scikit-learn: 1,797 handwritten digits of 8 x 8 grey pixels, on disk without any download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from layerlink.config.image_size import ImageSize
from layerlink.data.formats.decode import MOST_PIXELS
from layerlink.data.images import ImageSet, Source
from layerlink.data.splits import hold_out
from layerlink.optional import need

TEST_IMAGES = 360
"""A fifth of the set, kept apart as the test set by ``splits.hold_out``."""


def load_digits(
    root: Path | None = None,
    *,
    size: ImageSize | None = None,
    download: bool = False,
    cache: Path | None = None,
    skip_bad: bool = False,
    most_pixels: int = MOST_PIXELS,
) -> Source:
    """The digits: train (1437, 1, 8, 8) and test (360, 1, 8, 8).

    A pixel is published as 0..16 and becomes ``round(v * 255 / 16)``, a half rounded to even (8 -> 128).
    There is no official test set: 360 images are kept apart by a fixed stratified rule that no recipe's
    seed changes.

    Args:
        root, size, download, cache, skip_bad, most_pixels: not used; the images come with scikit-learn.

    Raises:
        LayerlinkError: where scikit-learn is missing.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test part).
    """
    bunch = need("sklearn.datasets", "digits", "the source digits").load_digits()
    pixels = np.round(bunch.images * 255 / 16).astype(np.uint8)
    images = torch.from_numpy(pixels).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    train, test = hold_out(ImageSet(images, labels, tuple("0123456789")), TEST_IMAGES)
    return Source(train, test)
