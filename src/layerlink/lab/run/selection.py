"""Which epoch's weights a run keeps. The test images have no say: they are read once, at the end."""

from __future__ import annotations

from typing import Literal

from layerlink.tasks import ACCURACY, Score


def is_kept(value: float, best: float | None, keep: Literal["best", "last"], score: Score = ACCURACY) -> bool:
    """Whether an epoch's weights take the place of those kept so far; of equal ones the earlier stay.

    Args:
        value: the score of the epoch, on the validation images.
        best: of the epoch kept so far; None where there is none.
        keep: as in the recipe.
        score: says what is better.

    >>> is_kept(70.0, 70.0, "best"), is_kept(60.0, 70.0, "last")
    (False, True)
    """
    return keep == "last" or best is None or score.is_better(value, best)
