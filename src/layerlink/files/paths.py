"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: Path) -> Path:
    """``path`` with the home folder in place of ``~``; as it is where nobody has that name, to be told as missing."""
    return Path(os.path.expanduser(path))


def why_impossible(path: Path) -> str:
    """Why no file can be called so; empty where one can."""
    if "\0" in str(path):
        return "no file's name holds the character NUL"
    try:
        longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    except UnicodeEncodeError:
        return "no file's name holds half a character"
    return f"a name of {longest:,} bytes is too long for a file; at most 255" if longest > 255 else ""
