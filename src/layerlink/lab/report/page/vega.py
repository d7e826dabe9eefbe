"""Altair and vl-convert for all that draws: the one place that notices where they are missing."""

from __future__ import annotations

from layerlink.errors import LayerlinkError

try:
    import altair as alt
    import vl_convert
except ImportError as error:
    raise LayerlinkError(
        f"pages and charts need the package {error.name!r}, which cannot be imported ({error}). "
        "Install it: pip install 'layerlink[page]'"
    ) from error

__all__ = ["alt", "vl_convert"]
