"""Texts of other people as they are shown: what steers a terminal, turns letters round or is not in XML is spelled out.

The one filter for terminal, log, page, SVG, Markdown and CSV. Letters of any script stay as they are.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

# Control characters of both halves, line and paragraph separators, bidirectional embeddings, overrides and isolates,
# half
# characters, and what no XML may hold. The marks of direction that scripts need (U+200E, U+200F, U+061C) are not among
# them: they move no text of others.
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def one_line(text: str) -> str:
    r"""The text on one line, with everything odd in it spelled out.

    >>> one_line("red\x1b[31m\nand more")
    'red\\x1b[31m\\nand more'
    """
    return _ODD.sub(_spelled, text)


def in_a_shell(path: Path) -> str:
    r"""A path as a word of a command that may be pasted: no option, and on one line.

    >>> in_a_shell(Path("runs/a b")), in_a_shell(Path("-0/run"))
    ("'runs/a b'", './-0/run')
    >>> print(in_a_shell(Path("it's\nhere")))
    $'it\'s\nhere'
    """
    text = f"./{path}" if str(path).startswith("-") else str(path)
    if not _ODD.search(text):
        return shlex.quote(text)
    return "$'" + one_line(text.replace("\\", r"\\").replace("'", r"\'")) + "'"


def printable(text: str) -> str:
    """As ``one_line``, with its line breaks: for texts of several lines that layerlink itself wrote."""
    return "\n".join(map(one_line, text.split("\n")))


def all_printable(value: Any) -> Any:
    """A value of mappings, lists and texts, such as a chart, with every text on one line."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, dict):
        return {all_printable(name): all_printable(it) for name, it in value.items()}
    return [all_printable(it) for it in value] if isinstance(value, list | tuple) else value


def in_a_cell(text: str) -> str:
    """A text as a cell of CSV: a sign with which a spreadsheet begins a formula is quoted.

    >>> in_a_cell("=1+1")
    "'=1+1"
    """
    text = one_line(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _spelled(found: re.Match[str]) -> str:
    letter = found[0]
    code = ord(letter)
    return _NAMED.get(letter, f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
