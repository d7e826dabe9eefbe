"""Marks that tell what this user made from what somebody handed over: a code made with a key that only the user has."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from functools import cache
from pathlib import Path

KEY = "key"  # in the configuration folder
_BYTES = 32


def config_folder() -> Path | None:
    """``$LAYERLINK_CONFIG``, else ``$XDG_CONFIG_HOME/layerlink`` or ``~/.config/layerlink``; None without a home."""
    named, base = os.environ.get("LAYERLINK_CONFIG"), os.environ.get("XDG_CONFIG_HOME")
    if named:
        return Path(named)
    try:
        return (Path(base) if base else Path.home() / ".config") / "layerlink"
    except RuntimeError:
        return None


def mark_of(content: bytes, purpose: str) -> str | None:
    """This user's mark of what was made; None where no key can be kept.

    Args:
        content: all that the mark is to answer for.
        purpose: what it is, so that a mark of one thing is none of another: "run", "store".

    A key that others can read, as on file systems without rights of one's own, is none.
    """
    key = _key(config_folder())
    return None if key is None else hmac.new(key, purpose.encode() + b"\0" + content, hashlib.sha256).hexdigest()


def tag() -> str | None:
    """A few letters that are this user's, so that what several keep in one place has names of its own."""
    mark = mark_of(b"", "tag")
    return None if mark is None else mark[:8]


def is_own(mark: object, content: bytes, purpose: str) -> bool:
    """Whether ``mark`` is this user's of ``content``."""
    own = mark_of(content, purpose)
    return (
        own is not None and isinstance(mark, str) and hmac.compare_digest(own.encode(), mark.encode(errors="replace"))
    )


def why_no_key() -> str:
    """Why nothing can be marked, and what to do, a sentence; empty where it can."""
    return _found(config_folder())[1]


def _key(folder: Path | None) -> bytes | None:
    return _found(folder)[0]


@cache
def _found(folder: Path | None) -> tuple[bytes | None, str]:
    """The key, made where there is none; None, and why, where it cannot be kept."""
    if folder is None:
        return None, "there is no home folder for your key. Name another: LAYERLINK_CONFIG=FOLDER"
    path = folder / KEY
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        return None, f"your key cannot be kept ({error}). Name another folder for it: LAYERLINK_CONFIG=FOLDER"
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        known = file.read(_BYTES + 1) if stat.S_ISREG(facts.st_mode) else b""
    others = os.name != "nt" and (facts.st_uid != os.getuid() or facts.st_mode & 0o077)
    if len(known) == _BYTES and not others:
        return known, ""
    return None, (
        f"{path} must be {_BYTES} bytes that only you can read. Remove it, and another one is made; or name a folder "
        "where files can be yours alone: LAYERLINK_CONFIG=FOLDER"
    )


def _make(path: Path) -> None:
    """Write a new key, whole, where another process has not done so meanwhile."""
    temporary = path.with_name(f".{KEY}-{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(handle)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
