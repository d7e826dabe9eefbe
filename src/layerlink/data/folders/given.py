"""The folder that a user gave to a source."""

from __future__ import annotations

from pathlib import Path

from layerlink.config.image_size import ImageSize, plain, sides
from layerlink.errors import UsageError
from layerlink.files.paths import expanded


def folder_given(source: str, root: Path | None, size: ImageSize | None, accepted: str) -> Path:
    """The folder that a source reads.

    Args:
        source: its name, for messages.
        root: as the user gave it.
        size: in pixels, that images are brought to.
        accepted: which folders would do, in a sentence.

    Raises:
        UsageError: where there is no such folder, or no such size.
    """
    if root is None:
        raise UsageError(f"{source} needs root, a folder. {accepted}")
    root = expanded(root)
    if size is not None and min(sides(size)) < 1:
        raise UsageError(f"{source}: size must be at least 1 pixel; got {plain(size)}")
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise UsageError(f"{source}: root {str(root)!r} {what}. {accepted}")
    return root
