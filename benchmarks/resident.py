"""Resident memory of this process, for the scripts that measure it."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path


def held(name: str = "VmRSS") -> float:
    """Megabytes that the process holds (VmRSS), or held at most (VmHWM)."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


def peak_of(work: Callable[[], object], *, trim: bool = False) -> float:
    """Megabytes more than before, at most, while ``work`` is done.

    Args:
        work: to do.
        trim: give back first what was freed and is kept for the next time.
    """
    if trim:
        ctypes.CDLL(None).malloc_trim(0)
    before = held()
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    work()
    return held("VmHWM") - before
