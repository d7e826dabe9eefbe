"""Places of the Hugging Face hub: a folder in its layout, read without a network, or a name there."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from layerlink.errors import UsageError, closest
from layerlink.files.paths import expanded


def options_of(place: str) -> tuple[str, dict[str, Any]]:
    """What ``from_pretrained`` of ``transformers`` is called with, so that no code of the place is run."""
    folder = expanded(Path(place))
    there = folder.is_dir()
    return str(folder) if there else place, {"local_files_only": there, "trust_remote_code": False}


def not_there(what: str, place: str, error: BaseException) -> UsageError:
    """The error that ``what`` at ``place`` cannot be read, in place of what the library raised."""
    if expanded(Path(place)).is_dir():
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
def quiet(transformers: Any) -> Iterator[None]:
    """Without bars of progress, and without warnings of a head that is drawn anew, which is what is asked for."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    others = importlib.import_module("huggingface_hub.utils.logging")
    other_level = others.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    others.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        others.set_verbosity(other_level)
        if bars:
            logging.enable_progress_bar()
