"""Processes that decode the coming batches while a step runs; their number changes no order."""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

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


def read_ahead(decode: Decode, steps: Iterable[NDArray[np.int64]], workers: int) -> Iterator[Tensor]:
    """The pixels of one batch after the other, on the host.

    Not by torch's DataLoader: where one of its processes dies it raises in whatever the main thread is doing.

    Args:
        decode: one image.
        steps: the places of each batch's images.
        workers: how many processes.

    Raises:
        LayerlinkError: where an image cannot be used, or a process died.
    """
    coming = iter(steps)
    pool = ProcessPoolExecutor(workers, _context(), initializer=_begin, initargs=(decode,))
    waiting: deque[Future[Tensor | str]] = deque()
    try:
        with warnings.catch_warnings():  # of forking while there are threads: see _context
            warnings.simplefilter("ignore", DeprecationWarning)
            waiting.extend(pool.submit(_decoded, places) for places in islice(coming, workers * _AHEAD))
        while waiting:
            batch = waiting.popleft().result()
            if isinstance(batch, str):
                raise LayerlinkError(batch)
            waiting.extend(pool.submit(_decoded, places) for places in islice(coming, 1))
            yield batch
    except (BrokenProcessPool, EOFError, ConnectionError) as error:
        raise LayerlinkError(
            "a process that reads images ended on its own: was it killed, or is memory short? Nothing of the run is "
            "lost: the same command with --resume goes on. Fewer processes take less memory: data.workers=1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _context() -> multiprocessing.context.BaseContext:
    """Forked, a process is there at once and shares what the images are known by; it calls Pillow and numpy alone."""
    forks = "fork" in multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("fork" if forks else None)


def _begin(decode: Decode) -> None:
    """Ctrl-C goes to every process of a terminal; the main one decides what becomes of the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    _held[:] = [decode]


def _decoded(places: NDArray[np.int64]) -> Tensor | str:
    """A batch; what goes wrong is a text, since errors lose their words on the way."""
    (decode,) = _held
    try:
        found = np.stack([decode(int(place)) for place in places])
    except LayerlinkError as error:
        return str(error)
    return torch.from_numpy(np.ascontiguousarray(found.transpose(0, 3, 1, 2)))
