"""The losses that a link may use, by name. A new one is a file in ``maps/`` or ``outputs/`` and a line here."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from layerlink.losses.maps.mse import mse

LinkLoss = Callable[[Tensor, Tensor], Tensor]

LINK_LOSSES: dict[str, LinkLoss] = {
    "mse": mse,
}
