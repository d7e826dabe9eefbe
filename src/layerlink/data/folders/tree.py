"""What lies below a folder of images. Whatever is met is given, so that nothing is passed over unseen."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

ENDINGS = {
    **dict.fromkeys((".png",), "PNG"),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".webp",), "WEBP"),
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".gif",), "GIF"),
    **dict.fromkeys((".avif",), "AVIF"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
}
"""Of the files that are read, in any case, and Pillow's name for what is in them."""

UNREAD = frozenset(
    [
        ".apng",
        ".arw",
        ".avifs",
        ".cr2",
        ".cr3",
        ".dcm",
        ".dds",
        ".dng",
        ".emf",
        ".eps",
        ".exr",
        ".hdr",
        ".heic",
        ".heif",
        ".hif",
        ".ico",
        ".icns",
        ".j2k",
        ".jp2",
        ".jpx",
        ".jxl",
        ".jxr",
        ".nef",
        ".nii",
        ".npy",
        ".orf",
        ".pcx",
        ".psd",
        ".raf",
        ".raw",
        ".rw2",
        ".sgi",
        ".svg",
        ".tga",
        ".wmf",
        ".xbm",
        ".xcf",
        ".xpm",
    ]
)
"""Endings of images that are not read: a folder that holds some is warned of."""

# By the system, on every visit: nobody put them there.
_LITTER = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})

Kind = Literal["image", "unread", "other", "folder", "lost"]


class Found(NamedTuple):
    """One thing below a folder.

    Args:
        names: of the folders that lead to it, and its own.
        path: where it is.
        kind: ``image``: a file to be read; ``unread``: an image by its ending, which is not read; ``other``: any other
            file; ``folder``; ``lost``: what cannot be read at all.
        reason: why it is lost.
    """

    names: tuple[str, ...]
    path: Path
    kind: Kind
    reason: str = ""


def below(folder: Path) -> Iterator[Found]:
    """Everything below ``folder``, at any depth, in no order; links are followed. Names that begin with a dot are
    hidden.

    A folder that is reached a second time is lost: its images would count twice, and a circle of links has no end.
    """
    read: set[tuple[int, int]] = set()
    left: list[tuple[Path, tuple[str, ...]]] = [(folder, ())]
    while left:
        where, names = left.pop()
        try:
            place = where.stat()
            if (place.st_dev, place.st_ino) in read:
                yield Found(names, where, "lost", "a folder that is read already under another name")
                continue
            read.add((place.st_dev, place.st_ino))
            with os.scandir(where) as entries:
                here = [_found(entry, names) for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            yield Found(names, where, "lost", error.strerror or str(error))
            continue
        left += [(found.path, found.names) for found in here if found.kind == "folder"]
        yield from here


def _found(entry: os.DirEntry[str], names: tuple[str, ...]) -> Found:
    own, path = (*names, entry.name), Path(entry.path)
    try:
        if entry.is_dir():
            return Found(own, path, "folder")
        if entry.is_file():
            return Found(own, path, _kind(entry.name))
        return Found(own, path, "lost", why_lost(path))
    except OSError as error:  # a link to itself, or into a folder that is not to be read
        return Found(own, path, "lost", error.strerror or str(error))


def why_lost(path: Path) -> str:
    """Why something that is neither a folder nor a file cannot be read."""
    if path.is_symlink() and not path.exists():
        return f"a link to {shown(os.readlink(path))}, where nothing is"
    return "neither a file nor a folder"


def _kind(name: str) -> Kind:
    ending = os.path.splitext(name)[1].lower()
    return "image" if ending in ENDINGS else "unread" if ending in UNREAD else "other"


def composed(name: str) -> str:
    """The name in Unicode's composed form (NFC): a Mac writes the same letters in another one."""
    return unicodedata.normalize("NFC", name)


def order(found: Found) -> tuple[list[str], tuple[str, ...]]:
    """The key that sorts by names, the same wherever the folder was written."""
    return [composed(name) for name in found.names], found.names


def shown(name: str) -> str:
    """The name as it can be printed: what has no glyph is written as an escape."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)


def counted(found: Sequence[Found]) -> str:
    """How many files of which ending, and the first: ``3 (.heic 2, none 1), the first cat/a.heic``."""
    endings = Counter(os.path.splitext(file.path.name)[1].lower() or "no ending" for file in found)
    kinds = ", ".join(f"{shown(ending)} {count}" for ending, count in sorted(endings.items()))
    first = min(found, key=order)
    return f"{len(found)} ({kinds}), the first {shown('/'.join(first.names))}"


def is_litter(found: Found) -> bool:
    """Whether the system put the file there, and nobody needs to hear of it."""
    return found.path.name.lower() in _LITTER
