"""An epoch as a line of columns under one header, as wide as the terminal at most."""

from __future__ import annotations

from typing import Any

from layerlink.lab.run.folder import is_term
from layerlink.tasks import Score

GAP = "   "
NARROWEST, WIDEST = 9, 18  # a column of numbers, a term's name, in characters
TOLD = ("validation, best", "worst")  # of several students


def epoch_lines(row: dict[str, Any], *, epochs: int, score: Score, width: int, noun: str = "images") -> tuple[str, str]:
    """The header and the line of an epoch. Rows of one training have one header.

    Args:
        row: of metrics.
        epochs: of the training.
        score: the task's.
        width: in characters. What does not fit is left out, and stands in the run's metrics.csv: first the speed, then
            the score of the training examples, then the last terms, whose number is told.
        noun: what is trained on.

    >>> from layerlink.tasks import ACCURACY
    >>> row = {"epoch": 7, "hard": 0.91, "validation_accuracy": 74.25, "images_per_second": 1250.0}
    >>> print(*epoch_lines(row, epochs=25, score=ACCURACY, width=80), sep="\\n")
    epoch   validation    images/s        hard
     7/25       74.2 %       1,250        0.91
    """
    name, digits = score.name, len(str(epochs))
    first = [
        _cell("epoch", f"{row['epoch']:>{digits}}/{epochs}"),
        _cell("validation", short_score(score, row[f"validation_{name}"])),
    ]
    train, rate = row.get(f"train_{name}"), f"{row['images_per_second']:,.0f}"
    more = [] if train is None else [_cell("train", short_score(score, train), NARROWEST)]
    more.append(_cell(f"{noun}/s", rate, NARROWEST))
    terms = [_cell(_short(key), f"{value:.4g}", NARROWEST) for key, value in row.items() if is_term(key)]
    while more and _length([*first, *more, *terms]) > width:
        more.pop()
    shown = list(terms)
    while shown and _length([*first, *more, *shown, *_rest(terms, shown)]) > width:
        shown.pop()
    cells = [*first, *more, *shown, *_rest(terms, shown)]
    header, line = (GAP.join(texts).rstrip() for texts in zip(*cells, strict=True))
    return header, line


def cohort_lines(
    best: tuple[str, float],
    worst: tuple[str, float],
    *,
    epoch: str,
    students: int,
    seconds: float,
    score: Score,
    names: int,
    width: int,
) -> tuple[str, str]:
    """The header and the line of an epoch of several students.

    Args:
        best: the student of the best validation score, and that score.
        worst: of the worst.
        epoch: as shown.
        students: how many.
        seconds: that the epoch took.
        score: the task's.
        names: characters of the longest name.
        width: of the terminal, in characters; names are cut to fit.
    """
    head = [_cell("epoch", epoch), _cell("students", f"{students}")]
    tail = [_cell("seconds", f"{seconds:,.0f}")]
    told = [f"{short_score(score, value):>7} " for _, value in (best, worst)]
    room = (width - _length([*head, *tail])) // 2 - len(GAP) - max(map(len, told))
    wide = max(min(names, room), NARROWEST)
    texts = [text + _cut(student, wide).ljust(wide) for text, (student, _) in zip(told, (best, worst), strict=True)]
    cells = [(name.ljust(len(text)), text.ljust(len(name))) for name, text in zip(TOLD, texts, strict=True)]
    header, line = (GAP.join(column).rstrip() for column in zip(*head, *cells, *tail, strict=True))
    return header, line


def short_score(score: Score, value: float) -> str:
    """A score as it stands in a line of progress: percent with one digit, in a column.

    >>> from layerlink.tasks import ACCURACY
    >>> short_score(ACCURACY, 7.25)
    '  7.2 %'
    """
    return f"{value:5.1f} %" if score.unit == "%" else score.show(value)


def _rest(terms: list[tuple[str, str]], shown: list[tuple[str, str]]) -> list[tuple[str, str]]:
    left = len(terms) - len(shown)
    return [(f"+ {left} more", "")] if left else []


def _cell(name: str, text: str, least: int = 0) -> tuple[str, str]:
    """A name above a value, both set to the right."""
    width = max(len(name), len(text), least)
    return name.rjust(width), text.rjust(width)


def _length(cells: list[tuple[str, str]]) -> int:
    return sum(len(name) + len(GAP) for name, _ in cells) - len(GAP)


def _short(name: str) -> str:
    """A term without its loss, the middle of a long name left out."""
    return _cut(name.partition(" :")[0], WIDEST)


def _cut(name: str, width: int) -> str:
    """At most so many characters of a name, its middle left out."""
    if len(name) <= width:
        return name
    half = (width - 1) // 2
    return f"{name[: width - 1 - half]}…{name[-half:]}"
