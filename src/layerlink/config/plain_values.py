"""YAML's values as plain ones: text, numbers, lists and fields; nothing that could run or fill the memory."""

from __future__ import annotations

import reprlib
from typing import Any

from layerlink.errors import UsageError

# An alias stands for its value wherever it is used, so a short file can mean billions of values.
MOST_VALUES, DEEPEST = 100_000, 30
_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "omap"))


def plain(value: Any, place: str = "recipe") -> Any:
    """YAML's values as plain ones, so that a recipe comes back from its dump as it was.

    Raises:
        UsageError: for what is neither text, number, yes/no, list nor mapping with text keys, for tags, and for more
            values or deeper ones than anybody can mean.
    """
    return _Plain().value(value, place, 0)


class _Plain:
    """Makes values plain, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def value(self, value: Any, place: str, depth: int) -> Any:
        self.count += 1
        if self.count > MOST_VALUES or depth > DEEPEST:
            raise UsageError(f"{place}: more than {MOST_VALUES:,} values, or more than {DEEPEST} inside each other")
        tag = getattr(getattr(value, "tag", None), "value", None)
        if tag is not None and tag not in _TAGS:
            raise UsageError(f"{place}: the tag {short(str(tag))} is refused: a file holds values and no code")
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise UsageError(f"{place}: the key {short(key)} must be text; put it in quotes")
            return {_text(key, place): self.value(item, str(key), depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, place, depth + 1) for item in value]
        if value is None or isinstance(value, bool):  # before int, which it is too
            return value
        return _plain_scalar(value, place)


def _plain_scalar(value: Any, place: str) -> Any:
    if isinstance(value, int):
        if abs(value) >= 2**63:
            raise UsageError(f"{place}: a whole number must be below 2^63; put longer ones in quotes")
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return _text(value, place)
    raise UsageError(f"{place}: must be text, a number, true or false, a list or fields; got {type(value).__name__}")


def _text(value: str, place: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{place}: the text {value!r} holds half a character, which no file can keep") from None
    return str(value)


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
