"""The losses, one method per file, each a pure function of (student, teacher). ``table`` names those of links."""

from __future__ import annotations

from layerlink.losses.loss import Context, Facts, LossKind, loss
from layerlink.losses.maps.mse import mse
from layerlink.losses.outputs.hard import hard_cross_entropy
from layerlink.losses.outputs.soft import soft_cross_entropy
from layerlink.losses.shapes import ShapeError
from layerlink.losses.table import LINK_LOSSES, LOSSES, LinkLoss, loss_kind

__all__ = [
    "LINK_LOSSES",
    "LOSSES",
    "Context",
    "Facts",
    "LinkLoss",
    "LossKind",
    "ShapeError",
    "hard_cross_entropy",
    "loss",
    "loss_kind",
    "mse",
    "soft_cross_entropy",
]
