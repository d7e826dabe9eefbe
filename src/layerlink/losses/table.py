"""The losses that a link may use, by name. A new one is a file in one of the folders beside this and a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from layerlink.errors import UsageError, unknown_name
from layerlink.losses.loss import LossKind, imported, kind_of
from layerlink.losses.maps.mse import mse

LinkLoss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, LossKind] = {
    "mse": LossKind(mse),
}

LINK_LOSSES: dict[str, LinkLoss] = {"mse": mse}


def loss_kind(loss: Any) -> LossKind:
    """The loss that a name of the table, ``"package.module:name"``, a function, a class or a module stands for.

    Raises:
        UsageError: where there is none.
    """
    if not isinstance(loss, str):
        return kind_of(loss)
    if ":" in loss:
        return kind_of(imported(loss))
    if loss not in LOSSES:
        raise UsageError(unknown_name("loss", loss, LOSSES))
    return LOSSES[loss]
