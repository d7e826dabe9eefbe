"""Recorded source as one would write it: without names that stand for a name, long lines broken."""

from __future__ import annotations

import re
from itertools import pairwise

WIDTH = 110
_PAIRS = {"(": ")", "[": "]", "{": "}"}


def broken(line: str, width: int = WIDTH) -> list[str]:
    """A line in parts of at most ``width`` characters, as far as brackets let it.

    Each part of the outermost brackets stands on a line of its own, four blanks further in.

    >>> broken("a = call(first=1, second=[2, 3])", width=20)
    ['a = call(', '    first=1,', '    second=[2, 3],', ')']
    """
    indent = " " * (len(line) - len(line.lstrip()))
    places = _outermost(line)
    if len(line) <= width or len(places) < 2:
        return [line]
    start, *commas, end = places
    bounds = [start, *commas, end]
    parts = [line[one + 1 : other].strip() for one, other in pairwise(bounds)]
    last = "," if commas else ""
    inside = [f"{indent}    {part}," for part in parts[:-1]] + [f"{indent}    {parts[-1]}{last}"]
    return [line[: start + 1], *(it for part in inside for it in broken(part, width)), indent + line[end:]]


def _outermost(line: str) -> list[int]:
    """The place of the first bracket, of the commas right inside of it, and of its end; nothing where it holds none."""
    depth, quote, places = 0, "", list[int]()
    for place, sign in enumerate(line):
        if quote or sign in "'\"":
            quote = "" if sign == quote else quote or sign
        elif sign in _PAIRS:
            depth += 1
            places += [place] if depth == 1 else []
        elif sign in _PAIRS.values():
            depth -= 1
            if not depth:
                return [*places, place] if place > places[0] + 1 else []
        elif sign == "," and depth == 1:
            places.append(place)
    return []


def tidied(text: str) -> str:
    """Without what fx writes to free memory, and with children of lists called as one would write it."""
    lines = [re.sub(r";\s+\w+ = .*None$", "", line.rstrip()) for line in text.strip().split("\n")]
    text = "\n".join(line for line in lines if line.strip())
    text = re.sub(r"getattr\((\w+(?:\.\w+)*), \"(\d+)\"\)", r"\1[\2]", text)
    text = re.sub(r"\bdef forward\(self(.*?)\) ?->.*:", r"def forward(self\1):", text)
    text = text.replace(".__call__(", "(").replace("torch.nn.functional.", "F.")
    text = re.sub(r"\bmath_(\w+)\(", r"math.\1(", text.replace("torch._C._nn.", "F."))
    text = re.sub(r"(?<![\w.\"'])(-?inf|nan)(?![\w\"'(])", r'float("\1")', text)
    text = re.sub(r"(\(|, )(\w+) = ", r"\1\2=", text)
    text = re.sub(r", (inplace=False|mode='constant', value=None|_stacklevel=3, dtype=None)\)", ")", text)
    text = text.replace("torch.functional.", "torch.")
    text = re.sub(r"slice\((.*?), (.*?), (.*?)\)", _slice, text)
    text = re.sub(r"\[\(([^()]*:[^()]*)\)\]", r"[\1]", text)
    text = re.sub(r"\n    (\w+_) = (.*)(?=\n)(?!(?:.|\n)*\b\1\b)", r"\n    \2", text)  # in place: nobody reads the name
    return re.sub(r"\n    (\w+) = (.*)\n    return \1$", r"\n    return \2", _without_aliases(text))


def _without_aliases(text: str) -> str:
    """Names of a mere attribute or element are replaced by it: every name is given once."""
    alias = re.compile(r"\n    (\w+) = (\w+(?:\.\w+|\[\d+\])*)(?=\n)")
    while found := alias.search(text):
        name, value = found.groups()
        text = text[: found.start()] + text[found.end() :]
        text = re.sub(rf"(?<![\w.\"']){name}(?![\w\"'(]|=[^=])", value, text)
    return text


def _slice(found: re.Match[str]) -> str:
    start, stop, step = ("" if it == "None" else it for it in found.groups())
    return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
