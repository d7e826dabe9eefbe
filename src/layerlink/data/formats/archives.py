"""The files of an original CIFAR release: from its extracted folder, or straight out of its tar.gz."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from layerlink.errors import LayerlinkError

# The largest file in any of the releases is 155 MB (CIFAR-100's train pickle).
_MAX_BYTES = 512 * 1024 * 1024
_MAX_TOTAL = 2 * _MAX_BYTES  # of an archive, unpacked
_BLOCK = 1024 * 1024


def read_folder(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The bytes of each of the files ``names`` in ``folder``.

    Raises:
        LayerlinkError: where one is missing (every missing one is named), too large or cannot be read.
    """
    names = list(names)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise LayerlinkError(_missing(str(folder), names, missing))
    read = {}
    for name in names:
        path = folder / name
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise LayerlinkError(_too_large(str(path), path.stat().st_size, _MAX_BYTES))
            read[name] = path.read_bytes()
        except OSError as error:
            raise LayerlinkError(f"{path}: cannot be read ({error}).") from error
    return read


def read_archive(archive: Path, folder: str, names: Iterable[str]) -> dict[str, bytes]:
    """The bytes of each of the members ``folder``/``names`` of a tar.gz, read in memory.

    Nothing is extracted, so no member can be written anywhere, whatever path it carries.

    Raises:
        LayerlinkError: where a member is missing, is no plain file or too large, or the archive is damaged.
    """
    names = list(names)
    wanted = {f"{folder}/{name}": name for name in names}
    read: dict[str, bytes] = {}
    try:
        with gzip.open(archive) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            for member in tar:
                if member.offset_data + member.size > _MAX_TOTAL:
                    raise LayerlinkError(_too_large(str(archive), member.offset_data + member.size, _MAX_TOTAL))
                name = wanted.get(member.name.removeprefix("./"))
                if name is None or not member.isreg():
                    continue
                if member.size > _MAX_BYTES:
                    raise LayerlinkError(_too_large(f"{archive}, {member.name}", member.size, _MAX_BYTES))
                file = tar.extractfile(member)
                read[name] = file.read() if file is not None else b""
                if len(read[name]) != member.size:
                    raise EOFError(f"{member.name} ends after {len(read[name]):,} of {member.size:,} bytes")
            # The checksum stands at the end, behind what tar itself reads.
            while plain.read(_BLOCK):
                if plain.tell() > _MAX_TOTAL:
                    raise LayerlinkError(_too_large(str(archive), plain.tell(), _MAX_TOTAL))
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError, MemoryError) as error:
        raise LayerlinkError(
            f"{archive}: expected a whole tar.gz archive; it cannot be read ({type(error).__name__}: {error}). "
            f"The file is damaged or cut short: get it again."
        ) from error
    missing = [name for name in names if name not in read]
    if missing:
        raise LayerlinkError(_missing(f"{archive}, {folder}/", names, missing))
    return read


def _missing(where: str, names: list[str], missing: list[str]) -> str:
    return (
        f"{where}: expected {', '.join(names)}; missing: {', '.join(missing)}. "
        f"Put the missing files there, or get the archive again."
    )


def _too_large(where: str, size: int, most: int) -> str:
    return f"{where}: expected at most {most:,} bytes; got {size:,}. This is no file of CIFAR's."
