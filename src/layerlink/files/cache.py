"""Where layerlink keeps what only saves time: decoded images, what teachers gave."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """``$LAYERLINK_CACHE``, else ``~/.cache/layerlink``; None where there is no home folder."""
    named = os.environ.get("LAYERLINK_CACHE")
    if named:
        return Path(named)
    try:
        return Path.home() / ".cache" / "layerlink"
    except RuntimeError:
        return None
