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


_asked: threading.Event | None = None  # of the outermost ``stop_signals`` that is open


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Ctrl-C (and SIGTERM) ask to stop at the next step; a second Ctrl-C stops at once.

    Inside another one it gives that one's event, so that a sweep hears what was asked while a cohort was ending.
    """
    global _asked
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    if _asked is not None:
        yield _asked
        return

    def ask(_number: int, _frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    _asked = asked
    try:
        yield asked
    finally:
        _asked = None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def several_trainings(folder: Path) -> Iterator[None]:
    """Around work of several trainings in ``folder``: a request to stop, whenever it comes, ends all of it."""
    with stop_signals():
        try:
            yield
        except Interrupted as stopped:
            raise Interrupted(f"stopped. Nothing is lost: the same command goes on ({folder})") from stopped


def stop_before_the_next() -> None:
    """Between two trainings of ``several_trainings``: raise ``Interrupted`` where the user asked to stop."""
    if _asked is not None and _asked.is_set():
        raise Interrupted("stopped between two trainings")


def stop_if_asked(asked: bool, runs: Sequence[Path], *, epoch: int, step: int) -> None:
    """Raise ``Interrupted`` where the user asked to stop; the checkpoint is written by then.

    Args:
        asked: whether, in any process.
        runs: the runs' folders.
        epoch: from 0.
        step: how many steps of it are done.
    """
    if asked:
        steps = f"{step} step{'' if step == 1 else 's'}"
        raise Interrupted(
            f"stopped in epoch {epoch + 1} after {steps}. Nothing is lost: the same command with --resume goes on "
            f"({', '.join(map(str, runs))})"
        )
