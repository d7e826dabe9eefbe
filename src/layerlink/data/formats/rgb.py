"""Where an image of any mode becomes RGB."""

from __future__ import annotations

from typing import Any

from layerlink.optional import need


def upright_rgb(image: Any) -> Any:
    """A Pillow image turned as its EXIF orientation says, as RGB; transparency is dropped."""
    upright = need("PIL.ImageOps", "images", "reading images").exif_transpose(image)
    # By way of RGBA, because Pillow warns of palettes with transparency on the direct way.
    return upright.convert("RGBA").convert("RGB") if "transparency" in upright.info else upright.convert("RGB")
