"""Places of models: folders in the layout of the Hugging Face hub, or with a GGUF file; or names on the hub."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from pathlib import Path
from typing import Any

from layerlink.errors import UsageError, closest
from layerlink.files.paths import expanded
from layerlink.optional import need

GGUF = ".gguf"  # one file of weights, vocabulary and configuration


def options_of(place: str) -> tuple[str, dict[str, Any]]:
    """What ``from_pretrained`` of ``transformers`` is called with, so that no code of the place is run.

    Raises:
        UsageError: where a folder holds several GGUF files and nothing else that is read.
        LayerlinkError: where the package that reads such files is not installed.
    """
    found = expanded(Path(place))
    there = found.is_dir() or (found.suffix.lower() == GGUF and found.is_file())
    options: dict[str, Any] = {"local_files_only": there, "trust_remote_code": False}
    file = _gguf_of(place, found) if there else None
    if file is not None:
        need("gguf", "gguf", f"reading {file}")
        return str(file.parent), {**options, "gguf_file": file.name}
    return str(found) if there else place, options


def _gguf_of(place: str, found: Path) -> Path | None:
    """The GGUF file that is meant; None where the folder is of the hub's layout."""
    if found.is_file():
        return found
    files = sorted(path for path in found.iterdir() if path.suffix.lower() == GGUF and path.is_file())
    if not files or (found / "config.json").is_file():
        return None
    if len(files) > 1:
        names = ", ".join(path.name for path in files[:8])
        raise UsageError(f"hf:{place} holds {len(files)} GGUF files, {names}: name one, hf:{place}/{files[0].name}")
    return files[0]


def not_there(what: str, place: str, error: BaseException) -> UsageError:
    """The error that ``what`` at ``place`` cannot be read, in place of what the library raised."""
    if expanded(Path(place)).is_file():
        why = "the file holds none that can be read"
    elif expanded(Path(place)).is_dir():
        why = "the folder holds none that can be read"
    else:
        near: list[str] = []
        with suppress(OSError):
            near = closest(place, [it.name for it in Path().iterdir() if it.is_dir()])
        why = f"there is no such folder{f' (closest: {near[0]})' if near else ''}, and no such name could be fetched"
    return UsageError(f"{what}{place}: {why} ({first_line(error)})")


def first_line(error: BaseException) -> str:
    """Of an error's text, which may be a page."""
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0]


@contextmanager
def quiet(transformers: Any, options: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Without bars of progress, and without warnings of a head that is drawn anew, which is what is asked for."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    others = importlib.import_module("huggingface_hub.utils.logging")
    other_level = others.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    others.set_verbosity_error()
    try:
        with redirect_stderr(io.StringIO()) if options and "gguf_file" in options else nullcontext():  # bars of its own
            yield
    finally:
        logging.set_verbosity(level)
        others.set_verbosity(other_level)
        if bars:
            logging.enable_progress_bar()
