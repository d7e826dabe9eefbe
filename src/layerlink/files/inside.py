"""Files inside a folder that somebody else may have filled: regular ones that lie in it, of a bounded size.

The one reader and the one appender for the folders of runs, sweeps, stores, caches and reports; ``whole.write_whole``
is the writer. A pipe would wait for ever, a device has no end, a link may lead to a file that is nobody else's to see.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from layerlink.errors import LayerlinkError

MOST_BYTES = 64_000_000  # of a text: a sweep of 10,000 runs has a manifest of 2 MB
_WAITS_FOR_NOTHING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class PlaceError(LayerlinkError, OSError):
    """A file that is not read or written: it is no regular file, too large, or lies elsewhere."""


def inside(path: Path, folder: Path) -> Path:
    """Where ``path`` really lies, with every link followed.

    Raises:
        PlaceError: where that is outside of ``folder``.
    """
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise PlaceError(f"{path} leads out of {folder}, to {real}: it is left alone. Put the file itself there")
    return real


def regular(path: Path, folder: Path | None = None, most: int | None = None) -> Path:
    """Where a file really lies, for a library that opens it by its name.

    Args:
        path: of the file.
        folder: that it must lie in; by default it may lie anywhere.
        most: bytes that it may have.

    Raises:
        PlaceError: where it is no regular file, too large, or lies outside.
        OSError: where it is missing.
    """
    real = Path(os.path.realpath(path)) if folder is None else inside(path, folder)
    _check(path, os.stat(real), most)
    return real


def read_bytes(path: Path, folder: Path, most: int = MOST_BYTES) -> bytes:
    """What a regular file inside ``folder`` holds.

    Raises:
        PlaceError: where it is no such file, or has more than ``most`` bytes.
        OSError: where it is missing or cannot be read.
    """
    handle = os.open(inside(path, folder), os.O_RDONLY | _WAITS_FOR_NOTHING | _NO_LINK)
    try:
        _check(path, os.fstat(handle), most)
    except PlaceError:
        os.close(handle)
        raise
    with os.fdopen(handle, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise PlaceError(f"{path} has more than {most:,} bytes")
    return content


def read_text(path: Path, folder: Path, most: int = MOST_BYTES, *, errors: str = "strict") -> str:
    """As ``read_bytes``, as text with line breaks as everywhere.

    Raises:
        UnicodeDecodeError: where it is no UTF-8.
    """
    text = read_bytes(path, folder, most).decode("utf-8", errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, which is made where it is missing.

    Raises:
        PlaceError: where it is a link, no regular file, or has another name elsewhere.
        OSError: where it cannot be written.
    """
    if path.is_symlink():
        raise PlaceError(f"{path} is a link, and nothing is added to another file. Remove it")
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _WAITS_FOR_NOTHING | _NO_LINK
    with os.fdopen(os.open(path, flags, 0o644), "ab") as file:
        facts = os.fstat(file.fileno())
        _check(path, facts, None)
        if facts.st_nlink > 1:
            raise PlaceError(f"{path} is another file, too, under another name, and nothing is added to it. Remove it")
        file.write(f"{line}\n".encode(errors="backslashreplace"))


def _check(path: Path, facts: os.stat_result, most: int | None) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise PlaceError(f"{path} is {_kind(facts.st_mode)} and no regular file: it is left alone")
    if most is not None and facts.st_size > most:
        raise PlaceError(f"{path} has {facts.st_size:,} bytes; at most {most:,} are read")


def _kind(mode: int) -> str:
    for kind, is_kind in (
        ("a folder", stat.S_ISDIR),
        ("a pipe", stat.S_ISFIFO),
        ("a socket", stat.S_ISSOCK),
        ("a device", lambda it: stat.S_ISCHR(it) or stat.S_ISBLK(it)),
    ):
        if is_kind(mode):
            return kind
    return "something else"
