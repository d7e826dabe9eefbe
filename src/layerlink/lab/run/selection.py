"""Which epoch's weights a run keeps. The test images have no say: they are read once, at the end."""

from __future__ import annotations

from typing import Literal


def is_kept(accuracy: float, best: float, keep: Literal["best", "last"]) -> bool:
    """Whether an epoch's weights take the place of those kept so far; of equal ones the earlier stay.

    Args:
        accuracy: of the epoch, on the validation images, in percent.
        best: of the epoch kept so far; below 0 where there is none.
        keep: as in the recipe.

    >>> is_kept(70.0, 70.0, "best"), is_kept(60.0, 70.0, "last")
    (False, True)
    """
    return keep == "last" or accuracy > best
