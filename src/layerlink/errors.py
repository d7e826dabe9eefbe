"""What a user sees when something is wrong: where, what was expected, what came, what to do.

Every error that layerlink raises on purpose is a ``LayerlinkError``. The command line prints its text
without a traceback and leaves with its ``exit_code``: 1 when the work failed, 2 when the words were wrong.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class LayerlinkError(Exception):
    """The work could not be done (exit code 1)."""

    exit_code = 1


class UsageError(LayerlinkError):
    """What was asked for cannot be meant like this: a wrong name, value, option or path (exit code 2)."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing to mend.

    Args:
        where: the place as the user wrote it, such as ``training.epochs`` or ``links[1] "groop3 : mse"``.
        what: what was expected, what came and what to do, in one or two sentences.
        line: line number in the user's file, counted from 1, where there is one.
    """

    where: str
    what: str
    line: int | None = None


class ProblemsError(UsageError):
    """Everything that is wrong with one thing (a recipe, a set of links), told at once.

    Args:
        subject: the thing, as the user named it.
        problems: at least one problem, in the order in which they are to be read.
    """

    def __init__(self, subject: str, problems: Sequence[Problem]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        super().__init__(self._text())

    def _text(self) -> str:
        count = len(self.problems)
        lines = [f"{self.subject}: {count} problem{'' if count == 1 else 's'}"]
        for problem in self.problems:
            place = f"line {problem.line}   " if problem.line is not None else ""
            lines += [
                "",
                f"  {place}{problem.where}",
                *(f"      {part}" for part in problem.what.split("\n")),
            ]
        return "\n".join(lines)


def closest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """At most ``count`` names that are like ``name``, and nearly as like as the best one; best first.

    >>> closest("groop3", ["group1", "group2", "group3", "hidden"])
    ['group3', 'group1', 'group2']
    >>> closest("epocs", ["epochs", "step_epochs", "lr"])
    ['epochs']
    """
    likeness = {other: difflib.SequenceMatcher(None, name, other).ratio() for other in names}
    best = max(likeness.values(), default=0.0)
    near = [other for other, value in likeness.items() if value >= max(0.5, best - 0.2)]
    return sorted(near, key=lambda other: -likeness[other])[:count]


def unknown_name(kind: str, name: str, names: Iterable[str]) -> str:
    """The sentence that answers a wrong name with the closest right ones, or with all of them.

    >>> unknown_name("loss", "msee", ["mse", "at"])
    "unknown loss 'msee'. Did you mean mse?"
    """
    known = list(names)
    near = closest(name, known)
    if near:
        return f"unknown {kind} {name!r}. Did you mean {' or '.join(near)}?"
    return f"unknown {kind} {name!r}. Known: {', '.join(known) if known else 'none'}."
