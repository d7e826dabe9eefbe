"""The idea itself: taps, links, objective, teachers, distiller. Needs torch and the losses, nothing else."""

from __future__ import annotations

from layerlink.taps.recorder import Recorder, Recording
from layerlink.taps.tap import Tap
from layerlink.teachers.store.store import StoreWriter, TensorStore
from layerlink.teachers.teacher import LiveTeacher, Teacher
from layerlink.transfer.distiller import Distiller
from layerlink.transfer.inspection import LinkReport, inspect_links
from layerlink.transfer.link import Link
from layerlink.transfer.objective import Activations, Losses, Objective, Soft
from layerlink.transfer.scales import LinkScales

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
