"""A trained student out of the door: as a file of another format, compared with what it was written from."""

from __future__ import annotations

from layerlink.design.export.exporting import Exported, export

__all__ = ["Exported", "export"]
