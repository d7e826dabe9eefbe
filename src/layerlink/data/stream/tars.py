"""WebDataset tars: ``KEY.jpg`` with ``KEY.cls`` or ``KEY.json`` beside it, read where they lie in the file."""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from layerlink.config.image_size import ImageSize
from layerlink.data.folders.tree import ENDINGS
from layerlink.data.formats.decode import MOST_PIXELS
from layerlink.data.images import Source
from layerlink.data.stream.images import Streaming
from layerlink.data.stream.labels import numbered
from layerlink.data.stream.pictures import Pictures
from layerlink.data.stream.source import Encoded, by_role, source_from
from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.inside import regular
from layerlink.files.paths import expanded

_MOST_BYTES = 2**30  # of an image
_MOST_LABEL = 1_000_000  # bytes of a label's file
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True)
class TarMembers(Pictures):
    """Images inside of tars.

    Args:
        paths: of the tars.
        file: (N,) int64, which tar holds an image.
        start: (N,) int64, its first byte in there.
        length: (N,) int64, in bytes.
    """

    paths: tuple[Path, ...]
    file: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.file)

    def read(self, index: int) -> bytes:
        """The member's bytes."""
        length = int(self.length[index])
        try:
            with regular(self.paths[int(self.file[index])]).open("rb") as tar:  # of thousands not all can be open
                tar.seek(int(self.start[index]))
                content = tar.read(length)
        except OSError as error:
            raise LayerlinkError(f"{self.where(index)}: cannot be read ({error}).") from error
        if len(content) < length:
            raise LayerlinkError(f"{self.where(index)}: the tar ends inside of it. Get the file again.")
        return content

    def where(self, index: int) -> str:
        """The tar and the byte at which the image begins."""
        return f"{self.paths[int(self.file[index])]}, byte {int(self.start[index]):,}"

    def checksum(self) -> int:
        """Of names and lengths of the tars, and where images lie in them."""
        crc = zlib.crc32("".join(f"{path.name} {path.stat().st_size}\n" for path in self.paths).encode())
        for places in (self.file, self.start, self.length):
            crc = zlib.crc32(places.tobytes(), crc)
        return crc


def load_tars(
    root: Path | None, *, size: ImageSize, streaming: Streaming, skip_bad: bool = False, most_pixels: int = MOST_PIXELS
) -> Source:
    """The images of the tars below ``root``: ``*.tar``, told apart by train, val and test in names or folders.

    A key is a member's name up to the first dot of its last part. Its label is what ``KEY.cls`` holds, a number or a
    name, or the field ``label`` or ``cls`` of ``KEY.json``. Every tar is gone through once, for the places of its
    members.

    Args:
        root: the folder, or one tar.
        size: height and width to bring every image to, in pixels.
        streaming: when and how images are streamed.
        skip_bad: leave images out that cannot be used.
        most_pixels: that an image may have.

    Raises:
        UsageError: where there are no tars, or they are compressed.
        LayerlinkError: where a tar is damaged, or an image has no label.
    """
    if root is None:
        raise UsageError("webdataset needs root, a folder of .tar files")
    root = expanded(root)
    if not root.exists():
        raise UsageError(f"webdataset: root {str(root)!r} does not exist. Give a folder of .tar files")
    here = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    compressed = [path for path in here if path.name.lower().endswith(_COMPRESSED)]
    if compressed:
        raise UsageError(
            f"webdataset: {compressed[0]} is compressed, so no image in it can be read without all before it "
            f"({len(compressed)} such files). Unpack it: gzip -d, bzip2 -d, xz -d or zstd -d"
        )
    tars = [path for path in here if path.suffix.lower() == ".tar"]
    if not tars:
        raise UsageError(f"webdataset: root {str(root)!r} holds no .tar files")
    roles = by_role(root if root.is_dir() else root.parent, tars, ".tar")
    found = {name: _members(paths) for name, paths in roles.items()}
    said = {name: labels for name, (_, labels) in found.items()}
    labels, classes = numbered(said, None, str(root))
    parts = {name: Encoded(members, labels[name]) for name, (members, _) in found.items()}
    return source_from(
        parts, classes, size, streaming, skip_bad=skip_bad, most_pixels=most_pixels, where=f"webdataset: {root}"
    )


def _members(paths: Sequence[Path]) -> tuple[TarMembers, list[int | str]]:
    places: list[tuple[int, int, int]] = []
    labels: list[int | str] = []
    for number, path in enumerate(paths):
        for start, length, label in _samples(path):
            places.append((number, start, length))
            labels.append(label)
    table = np.array(places, dtype=np.int64).reshape(-1, 3)
    columns = [np.ascontiguousarray(table[:, column]) for column in range(3)]
    return TarMembers(tuple(paths), columns[0], columns[1], columns[2]), labels


def _samples(path: Path) -> Iterator[tuple[int, int, int | str]]:
    """Of every image of a tar where it lies, and its label."""
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, int | str] = {}
    try:
        with tarfile.open(regular(path), mode="r:") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                key, _, ending = name.partition(".")
                if not member.isreg() or not key:
                    continue
                key, ending = f"{folder}/{key}", ending.lower()
                if f".{ending.rpartition('.')[2]}" in ENDINGS:
                    if member.size > _MOST_BYTES:
                        raise LayerlinkError(
                            f"{path}: {member.name} has {member.size:,} bytes; at most {_MOST_BYTES:,}"
                        )
                    if key in images:
                        raise LayerlinkError(f"{path}: {member.name}: a second image of one key. Keep one of them")
                    images[key] = member.offset_data, member.size
                elif ending in ("cls", "cls.txt", "json"):
                    content = tar.extractfile(member)
                    label = _label(b"" if content is None else content.read(_MOST_LABEL + 1), ending)
                    if label is not None:
                        labels[key] = label
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise LayerlinkError(
            f"{path}: expected a whole, uncompressed tar; it cannot be read ({type(error).__name__}: {error}). Get the "
            "file again"
        ) from error
    missing = [key for key in images if key not in labels]
    if missing:
        raise LayerlinkError(
            f"{path}: {len(missing)} of {len(images)} images have no label: expected KEY.cls, or KEY.json with the "
            f"field label; the first is {missing[0].lstrip('/')!r}"
        )
    return iter([(*place, labels[key]) for key, place in images.items()])


def _label(content: bytes, ending: str) -> int | str | None:
    text = content[:_MOST_LABEL].decode("utf-8", "replace").strip()
    if ending == "json":
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return None
        found = (
            next((said[name] for name in ("label", "cls") if name in said), None) if isinstance(said, dict) else None
        )
        return found if isinstance(found, int | str) and not isinstance(found, bool) else None
    return int(text) if text.isdecimal() else text or None
