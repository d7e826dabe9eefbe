"""The idea itself: links, objective, distiller. Needs torch, taps, losses and teachers, nothing else."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from layerlink.taps import Activations, Recorder, Recording, Tap
from layerlink.teachers import Teacher
from layerlink.transfer.distiller import Distiller
from layerlink.transfer.inspection import LinkReport, inspect_links
from layerlink.transfer.link import Link
from layerlink.transfer.objective import Losses, Objective
from layerlink.transfer.scales import LinkScales
from layerlink.transfer.timed import Hard, Soft

if TYPE_CHECKING:
    from layerlink.teachers.store import StoreWriter, TensorStore

__all__ = [
    "Activations",
    "Distiller",
    "Hard",
    "Link",
    "LinkReport",
    "LinkScales",
    "Losses",
    "Objective",
    "Recorder",
    "Recording",
    "Soft",
    "StoreWriter",
    "Tap",
    "Teacher",
    "TensorStore",
    "inspect_links",
]


def __getattr__(name: str) -> Any:
    if name == "LiveTeacher":
        from layerlink.transfer.renamed import LiveTeacher

        text = "layerlink.transfer.LiveTeacher is layerlink.teachers.FrozenTeacher now, told at the call what is wanted"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return LiveTeacher
    if name in ("StoreWriter", "TensorStore"):  # on use: they bring what writes files
        from layerlink.teachers import store

        return getattr(store, name)
    raise AttributeError(f"module 'layerlink.transfer' has no attribute {name!r}")
