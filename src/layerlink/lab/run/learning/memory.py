"""A step for which the device has no memory: what to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from layerlink.errors import LayerlinkError


class OutOfMemoryError(LayerlinkError):
    """The device has no memory left for a step."""


@contextmanager
def out_of_memory_explained(batch_size: int, noun: str = "images") -> Iterator[None]:
    """Turn the device's refusal of memory into what to change.

    Args:
        batch_size: of the batch that did not fit.
        noun: what it is of.

    Raises:
        OutOfMemoryError: in its place.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError on a GPU; the CPU's allocator has no type of its own
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        smaller = "data.image_size" if noun == "images" else "data.texts.max_length"
        raise OutOfMemoryError(
            f"out of memory with {batch_size} {noun} in a batch. Start again (--out FOLDER) with training.batch_size="
            f"{max(batch_size // 2, 1)} or a smaller {smaller}; layerlink check tells what a step needs"
        ) from error
