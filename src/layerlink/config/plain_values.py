"""YAML's values as plain ones: text, numbers, lists and fields; nothing that could run or fill the memory."""

from __future__ import annotations

import reprlib
from typing import Any

from layerlink.errors import UsageError

# An alias stands for its value wherever it is used, so a short file can mean billions of values.
MOST_VALUES, DEEPEST = 100_000, 30
_NAMES = dict.fromkeys(("date", "datetime", "TimeStamp"), "a date: put it in quotes where a text is meant")
_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "omap"))


Place = tuple[str | int, ...]


def plain(value: Any) -> Any:
    """YAML's values as plain ones, so that a recipe comes back from its dump as it was.

    Raises:
        UsageError: as ``read_plain`` finds.
    """
    value, wrong = read_plain(value)
    if wrong:
        raise UsageError("; ".join(what for _, what in wrong))
    return value


def read_plain(value: Any) -> tuple[Any, list[tuple[Place, str]]]:
    """The plain value, and by place everything in it that is none.

    That is neither text, number, yes/no, list nor mapping with text keys; tags; more values or deeper ones than anybody
    can mean.
    """
    reading = _Plain()
    try:
        found = reading.value(value, ())
    except _TooMuchError:
        what = f"more than {MOST_VALUES:,} values, or more than {DEEPEST} inside each other"
        return None, [*reading.wrong, ((), what)]
    return found, reading.wrong


class _TooMuchError(Exception):
    """There are too many values to look at all."""


class _Plain:
    """Makes values plain, counts them, and keeps what is wrong with them."""

    def __init__(self) -> None:
        self.count = 0
        self.wrong: list[tuple[Place, str]] = []

    def value(self, value: Any, place: Place) -> Any:
        self.count += 1
        if self.count > MOST_VALUES or len(place) > DEEPEST:
            raise _TooMuchError
        tag = getattr(getattr(value, "tag", None), "value", None)
        if tag is not None and tag not in _TAGS:
            return self._refuse(place, f"the tag {short(str(tag))} is refused: a file holds values and no code")
        if isinstance(value, dict):
            return {key: self.value(item, (*place, key)) for key, item in value.items() if self._is_key(key, place)}
        if isinstance(value, list):
            return [self.value(item, (*place, number)) for number, item in enumerate(value)]
        if value is None or isinstance(value, bool):  # before int, which it is too
            return value
        return self._scalar(value, place)

    def _is_key(self, key: Any, place: Place) -> bool:
        if isinstance(key, str):
            return self._text(key, place) is not None
        self._refuse((*place, key), f"the key {short(key)} must be text; put it in quotes")
        return False

    def _scalar(self, value: Any, place: Place) -> Any:
        if isinstance(value, int):
            if abs(value) >= 2**63:
                return self._refuse(place, "a whole number must be below 2^63; put longer ones in quotes")
            return int(value)
        if isinstance(value, float):
            return float(value)
        if isinstance(value, str):
            return self._text(value, place)
        kind = type(value).__name__
        return self._refuse(
            place, f"must be text, a number, true or false, a list or fields; got {_NAMES.get(kind, kind)}"
        )

    def _text(self, value: str, place: Place) -> str | None:
        try:
            value.encode()
        except UnicodeEncodeError:
            self._refuse(place, f"the text {value!r} holds half a character, which no file can keep")
            return None
        return str(value)

    def _refuse(self, place: Place, what: str) -> None:
        self.wrong.append((place, what))


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 60


def short(value: Any) -> str:
    """A value in at most 60 letters; also one that would fill the memory if it were written out.

    >>> short([1, 2, 3])
    '[1, 2, 3]'
    """
    if type(value) not in (str, list, dict, tuple) and isinstance(value, list | dict | tuple):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value):,}"  # YAML's own kinds
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a whole number of {value.bit_length():,} bits"
    text = repr(value) if isinstance(value, str) and len(value) <= 60 else _REPR.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
