"""Processes that decode the coming batches while a step runs; their number changes no order."""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from layerlink.errors import LayerlinkError

if TYPE_CHECKING:
    from layerlink.data.stream.pixels import StreamedPixels

_AHEAD = 2  # batches a process


class _Steps(Dataset[Any]):
    """Batches by the places of their images; what goes wrong is a text, since errors lose their words on the way."""

    def __init__(self, pixels: StreamedPixels) -> None:
        self.pixels = pixels

    def __getitem__(self, places: NDArray[np.int64]) -> Tensor | str:
        from layerlink.data.stream.pixels import as_tensor

        try:
            return as_tensor(np.stack([self.pixels.decoded(int(place)) for place in places]))
        except LayerlinkError as error:
            return str(error)


def read_ahead(pixels: StreamedPixels, steps: Sequence[NDArray[np.int64]]) -> Iterator[Tensor]:
    """The pixels of one batch after the other.

    Args:
        pixels: of which images, by how many processes.
        steps: of each batch the places in ``pixels.pictures``.

    Raises:
        LayerlinkError: where an image cannot be used, or a process died.
    """
    on_gpu = pixels.device.type == "cuda"
    # Forked, a process is there at once and shares what the images are known by; it calls Pillow and numpy alone.
    context = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    loader = DataLoader(
        _Steps(pixels),
        batch_size=None,
        sampler=steps,
        num_workers=min(pixels.workers, len(steps)) or 1,
        prefetch_factor=_AHEAD,
        pin_memory=on_gpu,
        multiprocessing_context=context,
        worker_init_fn=_quiet,
    )
    try:
        with warnings.catch_warnings():  # of forking while there are threads: see above
            warnings.simplefilter("ignore", DeprecationWarning)
            batches = iter(loader)
        for batch in batches:
            if isinstance(batch, str):
                raise LayerlinkError(batch)
            yield batch.to(pixels.device, non_blocking=on_gpu)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise LayerlinkError(
            f"a process that reads images ended on its own ({str(error).split(chr(10))[0]}): was it killed, or is "
            "memory short? Nothing of the run is lost: the same command with --resume goes on. Fewer processes take "
            "less memory: data.workers=1"
        ) from error


def _quiet(_worker: int) -> None:
    """Ctrl-C goes to every process of a terminal; the main one decides what becomes of the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
