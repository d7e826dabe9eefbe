"""A link's text: what turns it into taps, a loss, a weight and options."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from layerlink.errors import UsageError, unknown_name
from layerlink.taps import Tap

LINK_FORM = "TEACHER -> STUDENT : LOSS * WEIGHT"
OPTIONS_FORM = "scale=none|teacher|gradient, until=EPOCHS, decay=none|linear"
# No \s beside what may be blank itself: thousands of blanks could then be shared out in a billion ways.
_LINK = re.compile(r"(?P<taps>[^:]*):(?P<loss>[^*:,]*)(\*(?P<weight>[^*:,]*))?(,(?P<options>[^:]*))?")


class LinkParts(NamedTuple):
    """What stands in a link's text.

    Args:
        teacher: where the teacher is read.
        student: where the student is read.
        loss: its name.
        weight: as written; 1 where none is.
        options: by name.
    """

    teacher: Tap
    student: Tap
    loss: str
    weight: float
    options: dict[str, Any]


def parse_link(text: str) -> LinkParts:
    """What a link's text names: ``TEACHER -> STUDENT : LOSS * WEIGHT``.

    One name stands for both where they are the same; a weight of 1 may be left out. Options follow after a
    comma: ``group3 : mse * 0.5, scale=gradient, until=3``.

    Raises:
        UsageError: where the text has not that form.

    >>> parts = parse_link("group3.1 -> group3 : mse * 40, until=2")
    >>> str(parts.teacher), str(parts.student), parts.loss, parts.weight, parts.options
    ('group3.1', 'group3', 'mse', 40.0, {'until': 2.0})
    """
    match = _LINK.fullmatch(text.strip())
    if match is None:
        raise UsageError(f'expected "{LINK_FORM}", such as "group3.1 -> group3 : mse * 40"')
    names = match["taps"].split("->")
    if len(names) > 2:
        raise UsageError(f'expected one "->" at the most, in "{LINK_FORM}"; write a link for each pair')
    teacher, student = Tap.parse(names[0]), Tap.parse(names[-1])
    options = _parse_options(match["options"])
    return LinkParts(teacher, student, match["loss"].strip(), _weight(match["weight"]), options)


def _weight(text: str | None) -> float:
    return 1.0 if text is None else _number("weight", text)


def _parse_options(text: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in text.split(",") if text is not None else ():
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise UsageError(f"expected options such as {OPTIONS_FORM} after the comma; got {part.strip()!r}")
        if name not in ("scale", "until", "decay"):
            raise UsageError(unknown_name("option of a link", name, ("scale", "until", "decay")))
        if name in options:
            raise UsageError(f"the option {name} stands here twice")
        options[name] = _number("until", value) if name == "until" else value
    return options


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"a link's {name} must be a number; got {text.strip()!r}") from None


def digits(value: float) -> str:
    """A number in as few digits as give it back."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value).removesuffix(".0")
