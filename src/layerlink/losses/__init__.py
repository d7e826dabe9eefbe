"""The losses, one method per file, each a pure function of (student, teacher).

``LINK_LOSSES`` names those that a link may use. A new one is a file beside ``mse.py`` and a line here.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from layerlink.losses.maps.mse import mse
from layerlink.losses.outputs.hard import hard_cross_entropy
from layerlink.losses.outputs.soft import soft_cross_entropy
from layerlink.losses.shapes import ShapeError

LinkLoss = Callable[[Tensor, Tensor], Tensor]

LINK_LOSSES: dict[str, LinkLoss] = {
    "mse": mse,
}

__all__ = ["LINK_LOSSES", "LinkLoss", "ShapeError", "hard_cross_entropy", "mse", "soft_cross_entropy"]
