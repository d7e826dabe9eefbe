"""Verbs under torchrun: which ones train with several processes, and which process prints what."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from layerlink.errors import LayerlinkError
    from layerlink.lab.parallel.processes import Processes

TOGETHER = ("run", "sweep")


def check_verb(arguments: Sequence[str]) -> None:
    """Leave with exit code 2 where torchrun started a verb several times that does not share its work.

    They would all write the same files.
    """
    count, rank = os.environ.get("WORLD_SIZE", "1"), os.environ.get("RANK", "0")
    verb = next((text for text in arguments if not text.startswith("-")), "")
    if count == "1" or "LOCAL_RANK" not in os.environ or verb in (*TOGETHER, ""):
        return
    if rank == "0":
        verbs = " and ".join(TOGETHER)
        print(
            f"layerlink: {verb} works in one process; torchrun started {count}. {verbs} share theirs", file=sys.stderr
        )
    sys.exit(2)


def leave(code: int, *, stopped: bool = False) -> NoReturn:
    """Leave with an exit code.

    One of several processes leaves without the interpreter's own end, during which threads of torch's process group
    that still run would abort it ("terminate called without an active exception", seen with gloo). Nor does one that
    Ctrl-C stopped: where that came inside of ``exec``, as of a class that is made while it is imported, the
    interpreter's own end would be by the signal, whatever the code.
    """
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    if stopped and not several:
        atexit._run_exitfuncs()
    if stopped or several:
        with suppress(OSError, ValueError):  # nobody may be there to read it
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


@contextmanager
def together() -> Iterator[Processes]:
    """Join the processes that torchrun started. Of an error that all of them see, the first one tells."""
    from layerlink.errors import LayerlinkError
    from layerlink.lab.parallel.processes import joined

    with joined() as processes:
        try:
            yield processes
        except LayerlinkError as error:
            if processes.first or _only_here(error, processes):
                if not processes.first:
                    print(f"process {processes.rank} of {processes.size}:", file=sys.stderr)
                raise
            sys.exit(error.exit_code)


def _only_here(error: LayerlinkError, processes: Processes) -> bool:
    from layerlink.errors import UsageError
    from layerlink.lab.parallel.processes import LostProcessError
    from layerlink.lab.run.interruption import Interrupted
    from layerlink.lab.run.learning.learner import DroppedError

    if getattr(error, "told", False) or isinstance(error, Interrupted | DroppedError | LostProcessError):
        return False
    return not (isinstance(error, UsageError) and processes.local_rank)  # one on every machine tells
