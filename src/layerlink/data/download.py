"""One file from the network: whole and with the right checksum, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import BinaryIO

from layerlink.errors import LayerlinkError

_BLOCK = 1024 * 1024


def download(url: str, target: Path, *, md5: str, timeout_s: float = 60.0) -> None:
    """Fetches ``url`` into ``target``, whose folder is made where it does not exist.

    The bytes go to a temporary file beside ``target`` that takes its name only once they are checked; in
    every other case it is removed.

    Args:
        url: as published (https), or any other that urllib opens.
        target: the file to write.
        md5: the checksum of the whole file, in hexadecimal, as the publisher gives it.
        timeout_s: the longest silence of the other side, in seconds.

    Raises:
        LayerlinkError: where the file cannot be fetched or written, or its checksum is another.
    """
    partial = target.with_name(f".{target.name}-{uuid.uuid4().hex}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as file:
            found, size = _fetch(url, file, timeout_s)
        if found != md5:
            raise LayerlinkError(
                f"{url}: expected a file with the md5 checksum {md5}; got {found} ({size:,} bytes). "
                f"It was not kept. Try again, or put a good copy at {target}."
            )
        os.replace(partial, target)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is an open answer, too
        raise LayerlinkError(
            f"{url}: could not be fetched into {target} ({type(error).__name__}: {error}). "
            f"Check the network, or put the file there yourself."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _fetch(url: str, file: BinaryIO, timeout_s: float) -> tuple[str, int]:
    """Copies the answer into ``file``; returns its md5 and its size in bytes."""
    # md5 is what the publisher gives; it guards against damage here, not against forgery.
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310 - the caller's own URL
        while block := answer.read(_BLOCK):
            file.write(block)
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size
