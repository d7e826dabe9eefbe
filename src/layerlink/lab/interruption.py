"""Ctrl-C: stop after the step that is being done, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerlink.errors import LayerlinkError


class Interrupted(LayerlinkError):  # noqa: N818 - nothing went wrong
    """The user stopped the run; a checkpoint was written."""


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Ctrl-C (and SIGTERM) ask to stop at the next step; a second Ctrl-C stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(_number: int, _frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_if_asked(asked: threading.Event, runs: Sequence[Path], *, epoch: int, step: int) -> None:
    """Raise ``Interrupted`` where the user asked to stop; the checkpoint is written by then.

    Args:
        asked: as ``stop_signals`` gives it.
        runs: the runs' folders.
        epoch: from 0.
        step: how many steps of it are done.
    """
    if asked.is_set():
        raise Interrupted(
            f"stopped in epoch {epoch + 1} after {step} steps. Nothing is lost: the same command with --resume goes "
            f"on ({', '.join(map(str, runs))})"
        )
