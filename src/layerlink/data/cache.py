"""Decoded images kept on disk. A cache only ever saves time: where it fails, the images are decoded again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from layerlink.data.examples import Examples
from layerlink.data.images import ImageSet, Source
from layerlink.errors import LayerlinkError
from layerlink.files.cache import cache_folder
from layerlink.files.inside import regular
from layerlink.files.own import is_own, mark_of, tag
from layerlink.files.whole import write_text

Found = TypeVar("Found")
FORMAT = 3
"""Raise it whenever the same source files would decode to other pixels, or the file is laid out otherwise."""

_PARTS = ("train", "test", "validation")


def cached(
    build: Callable[[], Source],
    *,
    name: str,
    root: Path,
    files: Sequence[Path],
    settings: str,
    cache: Path | None,
    kind: type[Examples] = ImageSet,
) -> Source:
    """What ``build`` returns, from the cache where these very files were decoded before.

    The key is made of ``FORMAT``, ``name``, ``settings``, the folder ``root``, and the path, size, times of change and
    inode of every file: a file that is replaced by another of its size and with its time is another one. Entries carry
    this user's mark, and one that somebody else put there is not read. Old entries are never removed: the folder may
    be deleted at any time.

    Args:
        build: decodes the files.
        name: of the source; it begins the cache file's name.
        root: the folder of the files.
        files: everything that ``build`` reads.
        settings: whatever else changes the result, such as an image size.
        cache: the cache's folder; None for ``cache_folder()``.
        kind: of the examples. Of texts what was said of them is kept, too.

    Raises:
        LayerlinkError: what ``build`` raises; never because of the cache.
    """

    def read(entry: Path) -> Source | None:
        return _read(entry.with_suffix(".safetensors"), kind)

    def write(entry: Path, source: Source) -> None:
        _write(entry.with_suffix(".safetensors"), source)

    return _kept(build, read, write, cache, (name, root, files, settings))


def remembered(
    build: Callable[[], Any], *, name: str, root: Path, files: Sequence[Path], settings: str, cache: Path | None
) -> Any:
    """As ``cached``, of something that JSON holds.

    Args:
        build: looks at the files.
        name: what it is; it begins the cache file's name.
        root: the folder of the files.
        files: everything that ``build`` reads.
        settings: whatever else changes the result.
        cache: the cache's folder; None for ``cache_folder()``.

    Raises:
        LayerlinkError: what ``build`` raises; never because of the cache.
    """

    def read(entry: Path) -> Any:
        path = entry.with_suffix(".json")
        with contextlib.suppress(OSError, LayerlinkError, ValueError, KeyError, TypeError):
            kept = json.loads(regular(path, path.parent).read_text(encoding="utf-8"))
            if is_own(kept["mark"], kept["text"].encode(), name):
                return json.loads(kept["text"])
        return None

    def write(entry: Path, found: Any) -> None:
        text = json.dumps(found)
        mark = mark_of(text.encode(), name)
        if mark is not None:
            with contextlib.suppress(OSError, LayerlinkError):
                entry.parent.mkdir(parents=True, exist_ok=True)
                write_text(entry.with_suffix(".json"), json.dumps({"mark": mark, "text": text}))

    return _kept(build, read, write, cache, (name, root, files, settings))


def _kept(
    build: Callable[[], Found],
    read: Callable[[Path], Found | None],
    write: Callable[[Path, Found], None],
    cache: Path | None,
    known_by: tuple[str, Path, Sequence[Path], str],
) -> Found:
    """What ``read`` finds at its entry, a path without a suffix; else what ``build`` gives, handed to ``write``."""
    folder = cache if cache is not None else cache_folder()
    key = _key(*known_by)
    if folder is None or key is None:
        return build()
    entry = folder / f"{known_by[0]}-{key}"
    kept = read(entry)
    if kept is not None:
        return kept
    found = build()
    # A file that changed while it was read must not be found under the key of its earlier self.
    if _key(*known_by) == key:
        write(entry, found)
    return found


def _key(name: str, root: Path, files: Sequence[Path], settings: str) -> str | None:
    try:
        stats = [(os.path.relpath(file, root), file.stat()) for file in files]
        facts = [(path, it.st_size, it.st_mtime_ns, it.st_ctime_ns, it.st_ino) for path, it in stats]
        text = json.dumps([FORMAT, tag(), name, settings, str(root.resolve()), facts])
    except (OSError, ValueError):
        return None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _content(tensors: Mapping[str, Tensor], words: str) -> bytes:
    """What a mark answers for: a digest of the values and of all that gives them their meaning."""
    digest = hashlib.blake2b(words.encode("utf-8", "surrogatepass"))
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)} ".encode())
        digest.update(tensors[name].numpy().data)
    return digest.digest()


def _read(path: Path, kind: type[Examples]) -> Source | None:
    try:
        with safe_open(regular(path, path.parent), framework="pt") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
        notes = said.get("notes", "")
        if not is_own(said["mark"], _content(tensors, said["classes"] + said["bad"] + notes), kind.noun):
            return None
        train, test, validation = (_part(kind, tensors, part, json.loads(said["classes"])) for part in _PARTS)
        if train is None or test is None:
            return None
        told = tuple(json.loads(notes)) if notes else ()
        return Source(train, test, tuple(json.loads(said["bad"])), validation, told)
    except (OSError, SafetensorError, LayerlinkError, KeyError, ValueError, TypeError, RuntimeError):
        return None


def _part(kind: type[Examples], tensors: Mapping[str, Tensor], part: str, classes: Sequence[str]) -> Examples | None:
    """A part of a source from its tensors; None where it has none."""
    own = {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith(f"{part}.")}
    make: Callable[..., Examples] = kind
    return make(**own, classes=tuple(classes)) if own else None


def _write(path: Path, source: Source) -> None:
    tensors: dict[str, Tensor] = {}
    for name in _PARTS:
        part = getattr(source, name)
        if part is not None:
            own = {**part.tensors(), "labels": part.labels}
            tensors |= {f"{name}.{field}": value.contiguous() for field, value in own.items()}
    said = {"classes": json.dumps(source.train.classes), "bad": json.dumps(source.bad)}
    if source.notes and not isinstance(source.train, ImageSet):
        said["notes"] = json.dumps(source.notes)
    mark = mark_of(_content(tensors, said["classes"] + said["bad"] + said.get("notes", "")), source.train.noun)
    if mark is None:  # it could not be told from what others put there
        return
    said["mark"] = mark
    partial = path.with_name(f".partial-{uuid.uuid4().hex}.safetensors")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, metadata=said)
        os.replace(partial, path)
    except (OSError, SafetensorError, RuntimeError, MemoryError):
        pass  # a cache that cannot be written is none
    finally:  # Ctrl-C, too
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
