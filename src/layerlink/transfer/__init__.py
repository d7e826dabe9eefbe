"""The idea itself: links, objective, distiller. Needs torch, taps, losses and teachers, nothing else."""

from __future__ import annotations

import warnings
from typing import Any

from layerlink.taps import Activations, Recorder, Recording, Tap
from layerlink.teachers import FrozenTeacher, Teacher
from layerlink.teachers.store import StoreWriter, TensorStore
from layerlink.transfer.distiller import Distiller
from layerlink.transfer.inspection import LinkReport, inspect_links
from layerlink.transfer.link import Link
from layerlink.transfer.objective import Losses, Objective
from layerlink.transfer.scales import LinkScales
from layerlink.transfer.terms import Soft

__all__ = [
    "Activations",
    "Distiller",
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

_RENAMED = {"LiveTeacher": ("FrozenTeacher", FrozenTeacher)}


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        new, thing = _RENAMED[name]
        warnings.warn(f"layerlink.transfer.{name} is called {new} now", DeprecationWarning, stacklevel=2)
        return thing
    raise AttributeError(f"module 'layerlink.transfer' has no attribute {name!r}")
