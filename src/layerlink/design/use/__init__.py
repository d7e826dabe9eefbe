"""Using what was trained: models with their preprocessing, answers in words."""

from __future__ import annotations

from layerlink.design.use.loading import load
from layerlink.design.use.usable import Usable

__all__ = ["Usable", "load"]
