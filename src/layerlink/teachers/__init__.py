"""Teachers: whatever gives what is asked for, for a batch, without gradients."""

from __future__ import annotations

from layerlink.teachers.ema import EMATeacher
from layerlink.teachers.frozen import FrozenTeacher, as_teacher
from layerlink.teachers.peer import PeerTeacher
from layerlink.teachers.several import SeveralTeachers
from layerlink.teachers.stored import KeepingTeacher, StoredTeacher
from layerlink.teachers.teacher import CalledTeacher, Teacher, models_of

__all__ = [
    "CalledTeacher",
    "EMATeacher",
    "FrozenTeacher",
    "KeepingTeacher",
    "PeerTeacher",
    "SeveralTeachers",
    "StoredTeacher",
    "Teacher",
    "as_teacher",
    "models_of",
]
