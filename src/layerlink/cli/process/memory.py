"""The process's memory allocator, set for training."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST_KEPT = 1 << 30  # bytes of a block that may come from the heap
MOST_KEPT = (1 << 31) - 1  # bytes at the heap's end that may stay, the most that an int can say


def keep_freed_memory() -> bool:
    """Let the process keep memory that it frees, up to 2 GiB, for the next time.

    By default glibc gives large blocks back to the system at once and asks for them again, which the system fills
    with zeros each time. A training step on the CPU frees and asks for the same activations over and over; keeping
    them makes it about a fifth faster (``benchmarks/allocator.py``). Only the command line does this: a library has no
    business with its caller's allocator.

    Returns:
        Whether the allocator took the settings; False where it is another than glibc's.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(M_TRIM_THRESHOLD, MOST_KEPT))
