"""The losses, one method per file, each a pure function of (student, teacher). ``table`` names those of links."""

from __future__ import annotations

from layerlink.losses.maps.mse import mse
from layerlink.losses.outputs.hard import hard_cross_entropy
from layerlink.losses.outputs.soft import soft_cross_entropy
from layerlink.losses.shapes import ShapeError
from layerlink.losses.table import LINK_LOSSES, LinkLoss

__all__ = ["LINK_LOSSES", "LinkLoss", "ShapeError", "hard_cross_entropy", "mse", "soft_cross_entropy"]
