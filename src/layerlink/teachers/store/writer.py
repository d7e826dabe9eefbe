"""Tensors written to disk, one row an example: whole or not at all."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.whole_folder import UnfinishedFolder
from layerlink.teachers.store.manifest import (
    DTYPES,
    FORMAT,
    MANIFEST,
    STEPS,
    VALUES,
    StoreDtype,
    table_shape,
    with_checksum,
    with_mark,
)


class Encoded(NamedTuple):
    """Rows as a store keeps them.

    Args:
        kept: their values, in the store's dtype and order of axes.
        steps: of uint8, lowest value and step of every channel, (2, channels).
        finite: whether all values are.
        squares: the sum of the values' squares, where they are kept in fewer digits.
        squares_off: the sum of the squares of what that changes.
    """

    kept: Tensor
    steps: Tensor | None
    finite: Tensor
    squares: Tensor | None
    squares_off: Tensor | None


class StoreWriter:
    """Writes a store: ``with StoreWriter(...) as writer: writer.add(rows)``, in order, until all rows are there.

    The store appears when the block ends, whole. Where the block ends with an error nothing is left; what a killed
    process leaves is removed by the next writer beside it. Where another process was quicker its store stays.

    Args:
        folder: of the store; it must not exist.
        key: what the content depends on; anything that JSON can hold.
        rows: how many there will be.
        dtype: how values are kept. "uint8" keeps 256 steps between the lowest and the highest value of every channel
            (dimension 1) of every chunk (the rows of one ``add``), so 0 stays 0 after a ReLU, and no value is off by
            more than half a step.

    Raises:
        LayerlinkError: at the end of the block, where rows are missing or the disk is full.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], *, rows: int, dtype: StoreDtype = "float32") -> None:
        if dtype not in DTYPES:
            raise UsageError(f"store: dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")
        self.folder = folder
        self._key, self._rows, self._dtype = dict(key), rows, dtype
        self._shape: tuple[int, ...] | None = None
        self._channels_last = False
        self._chunk_ends: list[int] = []
        self._squares, self._squares_off = 0.0, 0.0
        self._encoded = 0  # rows

    def __enter__(self) -> StoreWriter:
        with _told_as_error(self.folder):
            self._unfinished = UnfinishedFolder(self.folder)
            self._values: BinaryIO = (self._unfinished.path / VALUES).open("wb")
            self._steps: BinaryIO = (self._unfinished.path / STEPS).open("wb")
        return self

    def add(self, values: Tensor) -> None:
        """Write the next rows.

        Args:
            values: (N, *shape), floating, finite, of any memory format; that of the first rows is the store's.

        Raises:
            LayerlinkError: for NaN or infinity, other shapes than before, or a full disk.
        """
        self.write(self.encoded(values))

    @torch.no_grad()
    def encoded(self, values: Tensor) -> Encoded:
        """The next rows as they are kept, where they are, without waiting for a device; ``write`` takes them in order.

        Raises:
            LayerlinkError: for other shapes than before.
        """
        values = values.detach()
        if self._shape is None:
            self._shape = tuple(values.shape[1:])
            self._channels_last = _is_channels_last(values)
        if values.shape[1:] != self._shape or self._encoded + len(values) > self._rows:
            raise LayerlinkError(
                f"{self.folder}: expected at most {self._rows - self._encoded} more rows of {self._shape}; "
                f"got {len(values)} of {tuple(values.shape[1:])}"
            )
        self._encoded += len(values)
        kept, steps = _encode(values, self._dtype)
        finite, squares, off = values.isfinite().all(), None, None
        if kept.dtype != values.dtype:
            read = kept.float()
            if steps is not None:
                low, step = (part.reshape(table_shape(1, tuple(kept.shape[1:]))) for part in steps)
                read = read.mul_(step).add_(low)
            squares = values.float().square().sum(dtype=torch.float64)
            off = (read - values.float()).square_().sum(dtype=torch.float64)
        return Encoded(kept.movedim(1, -1) if self._channels_last else kept, steps, finite, squares, off)

    def write(self, encoded: Encoded) -> None:
        """Write what ``encoded`` gave.

        Raises:
            LayerlinkError: for NaN or infinity, or a full disk.
        """
        first = self._chunk_ends[-1] if self._chunk_ends else 0
        end = first + len(encoded.kept)
        if not bool(encoded.finite):
            raise LayerlinkError(
                f"{self.folder}: expected finite numbers; rows {first} .. {end - 1} hold NaN or infinity"
            )
        if encoded.squares is not None and encoded.squares_off is not None:
            self._squares += float(encoded.squares)
            self._squares_off += float(encoded.squares_off)
        with _told_as_error(self.folder):
            _write(self._values, encoded.kept)
            if encoded.steps is not None:
                _write(self._steps, encoded.steps)
        self._chunk_ends.append(end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with _told_as_error(self.folder):
                if kind is None:
                    self._finish()
        finally:
            for file in (self._values, self._steps):
                with contextlib.suppress(OSError):  # a full disk shows again; it is told already
                    file.close()
            self._unfinished.remove()

    def _finish(self) -> None:
        written = self._chunk_ends[-1] if self._chunk_ends else 0
        if written != self._rows:
            raise LayerlinkError(f"{self.folder}: expected {self._rows} rows; got {written}. Nothing is kept")
        for file in (self._values, self._steps):
            file.flush()
            os.fsync(file.fileno())
            file.close()  # Windows moves no folder with open files
        manifest = {
            "format": FORMAT,
            "key": self._key,
            "rows": self._rows,
            "shape": list(self._shape or ()),
            "dtype": self._dtype,
            "channels_last": self._channels_last,
            "chunk_ends": self._chunk_ends,
            "error": math.sqrt(self._squares_off / self._squares) if self._squares else 0.0,
        }
        manifest = with_mark(with_checksum(manifest, self._unfinished.path / STEPS))
        with (self._unfinished.path / MANIFEST).open("w", encoding="utf-8") as text:
            json.dump(manifest, text, indent=1)
            text.flush()
            os.fsync(text.fileno())
        for name in (VALUES, STEPS, MANIFEST):  # what others could change is not read, see ``check_own``
            (self._unfinished.path / name).chmod(0o644)
        self._unfinished.move_to_its_place()


def _encode(values: Tensor, dtype: StoreDtype) -> tuple[Tensor, Tensor | None]:
    """The values as they are kept; for uint8 also lowest value and step of every channel, (2, channels)."""
    if dtype != "uint8":
        return values.to(DTYPES[dtype]), None
    values = values.float()
    others = [dimension for dimension in range(values.ndim) if dimension != 1]
    low = values.amin(others, keepdim=True)
    step = (values.amax(others, keepdim=True) - low) / 255
    step = torch.where(step > 0, step, torch.ones_like(step))  # a channel without variation is its lowest value
    kept = ((values - low) / step).round_().clamp_(max=255).to(torch.uint8)
    return kept, torch.stack([low.flatten(), step.flatten()])


def _is_channels_last(values: Tensor) -> bool:
    return values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last) and not values.is_contiguous()


def _write(file: BinaryIO, values: Tensor) -> None:
    # As bytes: numpy has no bfloat16.
    file.write(values.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


@contextlib.contextmanager
def _told_as_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LayerlinkError(
            f"cannot write the store {folder}: {error}. Nothing is kept; free space or choose another folder"
        ) from error
