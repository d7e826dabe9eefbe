from __future__ import annotations

from layerlink.lab.run.selection import is_kept


def kept(accuracies: list[float], keep: str) -> int:
    best, epoch = -1.0, 0
    for number, accuracy in enumerate(accuracies, 1):
        if is_kept(accuracy, best, keep):  # type: ignore[arg-type]
            best, epoch = accuracy, number
    return epoch


def test_the_best_epoch_is_kept_and_of_equal_ones_the_earlier() -> None:
    assert kept([50.0, 72.0, 72.0, 71.0], "best") == 2
    assert kept([0.0], "best") == 1, "an epoch without a right answer is one, too"


def test_or_the_last() -> None:
    assert kept([50.0, 72.0, 72.0, 71.0], "last") == 4
