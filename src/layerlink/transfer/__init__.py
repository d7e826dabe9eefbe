"""The idea itself: taps, links, objective, teachers, distiller. Needs torch and the losses, nothing else."""

from __future__ import annotations

from layerlink.transfer.distiller import Distiller
from layerlink.transfer.inspection import LinkReport, inspect_links
from layerlink.transfer.links import Link
from layerlink.transfer.objective import Activations, Losses, Objective, Soft
from layerlink.transfer.recorder import Recorder, Recording
from layerlink.transfer.scales import LinkScales
from layerlink.transfer.store import StoreWriter, TensorStore
from layerlink.transfer.taps import Tap
from layerlink.transfer.teacher import LiveTeacher, Teacher

__all__ = [
    "Activations",
    "Distiller",
    "Link",
    "LinkReport",
    "LinkScales",
    "LiveTeacher",
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
