"""Processes that decode the coming batches while a step runs; their number changes no order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from threading import Thread

import numpy as np
import torch
import torch.multiprocessing  # tensors travel between processes in shared memory
from numpy.typing import NDArray
from torch import Tensor

from layerlink.data.formats.decode import Pixels
from layerlink.errors import LayerlinkError

Decode = Callable[[int], Pixels]  # (H, W, 3) uint8 of the image at a place
_AHEAD = 2  # batches a process
_held: list[Decode] = []  # of a process that decodes


class Readers:
    """Processes that decode images, begun when the first batch is asked for and kept from epoch to epoch.

    A forked process keeps what its parent's memory held while the parent writes it anew: those that begin before a
    training's first step keep little. Not torch's DataLoader: where one of its processes dies it raises in whatever the
    main thread is doing.

    Args:
        decode: one image.
        count: how many processes.
    """

    def __init__(self, decode: Decode, count: int) -> None:
        self.decode = decode
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def __getstate__(self) -> dict[str, object]:
        """Processes stay where they are."""
        return {**self.__dict__, "_pool": None}

    def ahead(self, steps: Iterable[NDArray[np.int64]]) -> Iterator[Tensor]:
        """The pixels of one batch after the other, on the host.

        Args:
            steps: the places of each batch's images.

        Raises:
            LayerlinkError: where an image cannot be used, or a process died.
        """
        coming = iter(steps)
        waiting: deque[Future[Tensor | str]] = deque()
        try:
            waiting.extend(self._asked(islice(coming, self.count * _AHEAD)))
            while waiting:
                batch = waiting.popleft().result()
                if isinstance(batch, str):
                    raise LayerlinkError(batch)
                waiting.extend(self._asked(islice(coming, 1)))
                yield batch
        except (BrokenProcessPool, EOFError, ConnectionError) as error:
            self.close()
            raise LayerlinkError(
                "a process that reads images ended on its own: was it killed, or is memory short? Nothing of the run "
                "is lost: the same command with --resume goes on. Fewer processes take less memory: data.workers=1"
            ) from error
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """Let the processes end; the next batch begins others."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _asked(self, steps: Iterable[NDArray[np.int64]]) -> list[Future[Tensor | str]]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.count, _context(), initializer=_begin, initargs=(self.decode, os.getpid())
            )
            weakref.finalize(self, self._pool.shutdown, cancel_futures=True)
        with warnings.catch_warnings():  # of forking while there are threads: see _context
            warnings.simplefilter("ignore", DeprecationWarning)
            return [self._pool.submit(_decoded, places) for places in steps]


def _context() -> multiprocessing.context.BaseContext:
    """Forked, a process is there at once and shares what the images are known by; it calls Pillow and numpy alone."""
    forks = "fork" in multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("fork" if forks else None)


def _begin(decode: Decode, parent: int) -> None:
    """Ctrl-C goes to every process of a terminal; the main one decides what becomes of the run. None outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    _held[:] = [decode]
    Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A parent that is killed tells nobody."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _decoded(places: NDArray[np.int64]) -> Tensor | str:
    """A batch; what goes wrong is a text, since errors lose their words on the way."""
    (decode,) = _held
    try:
        found = np.stack([decode(int(place)) for place in places])
    except LayerlinkError as error:
        return str(error)
    return torch.from_numpy(np.ascontiguousarray(found.transpose(0, 3, 1, 2)))
