"""Code of the user's own that a recipe or a link names as ``package.module:name``: imported here and nowhere else."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from layerlink.errors import UsageError, unknown_name


def named(path: str, what: str) -> Any:
    """What ``package.module:name`` names. The package's code runs, at this call; the current folder is searched too.

    Args:
        path: as written.
        what: it is to be, for messages: "model", "loss".

    Raises:
        UsageError: where it cannot be imported, or has no such callable.
    """
    module_name, _, attribute = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{what} {path!r}: cannot import {module_name!r} ({type(error).__name__}: {error})") from error
    for part in attribute.split("."):
        names = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
        found = getattr(found, part, None)
        if not callable(found):
            raise UsageError(f"{what} {path!r}: {unknown_name('callable', part, names)}")
    return found
