"""A link's text: what turns it into taps, a loss with its options, a weight and options of the link."""

from __future__ import annotations

import ast
import math
import re
import warnings
from typing import Any, NamedTuple

from layerlink.errors import UsageError, unknown_name
from layerlink.taps import Tap

LINK_FORM = "TEACHER -> STUDENT : LOSS * WEIGHT"
NUMBERS = ("until", "from", "warmup")  # of epochs
WORDS = ("scale", "decay", "adapter", "where", "teacher_where")
OPTIONS_FORM = (
    "scale=none|teacher|gradient, from=EPOCHS, until=EPOCHS, warmup=EPOCHS, decay=none|linear, adapter=auto, "
    "where=INPUT_OF_THE_STUDENT"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*(:[A-Za-z_][A-Za-z0-9_.]*)?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_CLOSES = {"(": ")", "[": "]"}


class LinkText(NamedTuple):
    """What stands in a link's text.

    Args:
        which: the teacher's name, where there are several; empty where none is written.
        teacher: where the teacher is read.
        student: where the student is read.
        loss: its name.
        loss_options: of the loss, by name.
        weight: as written; 1 where none is.
        options: of the link, by name.
    """

    which: str
    teacher: tuple[Tap, ...]
    student: tuple[Tap, ...]
    loss: str
    loss_options: dict[str, Any]
    weight: float
    options: dict[str, Any]


def parse_link(text: str) -> LinkText:
    """What a link's text names: ``[WHICH/]TAP[ + TAP] -> TAP[ + TAP] : LOSS(option=value) * WEIGHT, option=value``.

    One side stands for both where they are the same; a weight of 1 may be left out. The marks count only outside of
    brackets, backticks and quotes.

    Raises:
        UsageError: where the text has not that form.

    >>> parts = parse_link("group3.1 -> group3 : kd(temperature=2) * 40, until=2")
    >>> str(*parts.teacher), str(*parts.student), parts.loss, parts.loss_options, parts.weight, parts.options
    ('group3.1', 'group3', 'kd', {'temperature': 2}, 40.0, {'until': 2.0})
    """
    sides, colon, rest = _cut(text.strip(), ":")
    if not colon:
        raise UsageError(f'expected "{LINK_FORM}", such as "group3.1 -> group3 : mse * 40"')
    which, teacher, student = _sides(sides)
    head, *options = _split(rest, ",")
    loss, *weights = _split(head, "*")
    if len(weights) > 1:
        raise UsageError(f'expected one "*" at the most, in "{LINK_FORM}"')
    name, loss_options = parse_call(loss, "loss")
    weight = _number("weight", weights[0]) if weights else 1.0
    return LinkText(which, teacher, student, name, loss_options, weight, _options(options))


def _sides(text: str) -> tuple[str, tuple[Tap, ...], tuple[Tap, ...]]:
    sides = _split(text, "->")
    if len(sides) > 2:
        raise UsageError(f'expected one "->" at the most, in "{LINK_FORM}"; write a link for each pair')
    which, slash, teacher = _cut(sides[0], "/")
    if not slash:
        which, teacher = "", sides[0]
    elif not _WORD.fullmatch(which.strip()):
        raise UsageError(f"{which.strip()!r} is not a teacher's name: letters, digits and _ before the /")
    taught = tuple(Tap.parse(tap) for tap in _split(teacher, "+"))
    return which.strip(), taught, tuple(Tap.parse(tap) for tap in _split(sides[1], "+")) if len(sides) == 2 else taught


def parse_call(text: str, what: str) -> tuple[str, dict[str, Any]]:
    """A name with options in brackets, such as ``kd(temperature=2)``.

    Args:
        text: as written.
        what: it is, for messages: "loss" or "adapter".

    Returns:
        The name and its options; values are numbers, texts, booleans, None, or lists of those.

    Raises:
        UsageError: where the text has not that form.
    """
    name, bracket, inside = text.strip().partition("(")
    name = name.strip()
    if name and not _NAME.fullmatch(name):
        example = "mse" if what == "loss" else "auto, conv1x1(norm=True)"
        raise UsageError(f"{name!r} is no {what}'s name. Expected one such as {example}, or mypackage.module:name")
    if not bracket:
        return name, {}
    if not inside.endswith(")"):
        raise UsageError(f"expected options such as {name}(temperature=2); got {text.strip()!r}")
    options: dict[str, Any] = {}
    for part in _split(inside[:-1], ",", quotes=True) if inside[:-1].strip() else ():
        key, equals, value = (piece.strip() for piece in _cut(part, "=", quotes=True))
        if not equals or not key.isidentifier() or not value:
            raise UsageError(f"expected options of {name} such as {name}(temperature=2); got {part.strip()!r}")
        if key in options:
            raise UsageError(f"the option {key} of {name} stands here twice")
        options[key] = _value(value)
    return name, options


def _value(text: str) -> Any:
    """A Python literal, or a bare word."""
    if _WORD.fullmatch(text) and text not in ("True", "False", "None"):
        return text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise UsageError(f"{_short(text)!r} is no value: give a number, True, False, None, a word or a text") from None
    if not _is_plain(value):
        raise UsageError(f"{_short(text)!r} is no value: give finite numbers, texts, True, False or None")
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int | str)


def _options(parts: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in parts:
        name, equals, value = (piece.strip() for piece in _cut(part, "="))
        if not equals or not value:
            raise UsageError(f"expected options such as {OPTIONS_FORM} after the comma; got {part.strip()!r}")
        if name == "weight":
            raise UsageError(f"a weight stands behind the loss: mse * {value}, OPTIONS in place of weight={value}")
        if name not in (*NUMBERS, *WORDS):
            raise UsageError(unknown_name("option of a link", name, (*WORDS, *NUMBERS)))
        if name in options:
            raise UsageError(f"the option {name} stands here twice")
        options[name] = _number(name, value) if name in NUMBERS else value
    return options


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"a link's {name} must be a number; got {_short(text.strip())!r}") from None


def _cut(text: str, mark: str, *, quotes: bool = False) -> tuple[str, str, str]:
    """As ``str.partition``, at the first mark outside of brackets and quotes."""
    places = _places(text, mark, quotes)
    if not places:
        return text, "", ""
    return text[: places[0]], mark, text[places[0] + len(mark) :]


def _split(text: str, mark: str, *, quotes: bool = False) -> list[str]:
    """As ``str.split``, at the marks outside of brackets and quotes."""
    start, parts = 0, []
    for place in _places(text, mark, quotes):
        parts.append(text[start:place])
        start = place + len(mark)
    return [*parts, text[start:]]


def _places(text: str, mark: str, quotes: bool) -> list[int]:
    """Where a mark stands outside of brackets, backticks and, inside of round brackets or where asked for, quotes."""
    places: list[int] = []
    open_brackets: list[str] = []
    quote = ""
    place = 0
    while place < len(text):
        letter = text[place]
        if quote:
            if letter == "\\" and quote != "`":
                place += 1
            elif letter == quote:
                quote = ""
        elif letter == "`" or (letter in "'\"" and (quotes or "(" in open_brackets)):
            quote = letter
        elif letter in _CLOSES:
            open_brackets.append(letter)
        elif open_brackets and letter == _CLOSES[open_brackets[-1]]:
            open_brackets.pop()
        elif not open_brackets and text.startswith(mark, place):
            places.append(place)
            place += len(mark) - 1
        place += 1
    if quote or open_brackets:
        missing = quote or _CLOSES[open_brackets[-1]]
        raise UsageError(f'a {missing} is missing at the end; expected "{LINK_FORM}"')
    return places


def digits(value: float) -> str:
    """A number in as few digits as give it back."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value).removesuffix(".0")


def literal(value: Any) -> str:
    """A value of a loss's option as it is written in a text."""
    if isinstance(value, str) and _WORD.fullmatch(value) and value not in ("True", "False", "None"):
        return value
    return digits(value) if isinstance(value, float) else repr(value)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
