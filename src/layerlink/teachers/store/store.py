"""Tensors kept on disk, one row per image: written whole or not at all, mapped into memory to be read."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

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
    check_checksum,
    check_key,
    damaged,
    read_manifest,
    with_checksum,
)

__all__ = ["DTYPES", "FORMAT", "StoreDtype", "StoreWriter", "TensorStore", "bytes_of_store"]


class TensorStore:
    """Rows of one tensor, read from a folder that a ``StoreWriter`` wrote. Any number of processes may read it.

    Args:
        folder: the store.
        key: what its content depends on, as given to the writer; None takes whatever is there.

    Raises:
        LayerlinkError: where the folder is no whole store.
        UsageError: where its key is another; the message lists what differs.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        manifest = read_manifest(folder)
        if key is not None:
            check_key(folder, manifest["key"], json.loads(json.dumps(dict(key))))
        self.key: dict[str, Any] = manifest["key"]
        self.shape = tuple(manifest["shape"])
        self.dtype: StoreDtype = manifest["dtype"]
        self.error = float(manifest["error"])  # relative RMS error of what is read
        self._rows, self._channels_last = int(manifest["rows"]), bool(manifest["channels_last"])
        memory = (*self.shape[1:], self.shape[0]) if self._channels_last else self.shape
        self._values = _mapped(folder / VALUES, DTYPES[self.dtype], (self._rows, *memory))
        if self.dtype == "uint8":
            self._chunk_ends = torch.tensor(manifest["chunk_ends"])
            # In memory, not mapped: it is small and read by every batch. (chunks, 2, channels): lowest value, step.
            table = (len(self._chunk_ends), 2, *self.shape[:1])
            self._steps = _mapped(folder / STEPS, torch.float32, table).clone()
        check_checksum(folder, manifest)

    def __len__(self) -> int:
        return self._rows

    @property
    def nbytes(self) -> int:
        """What the store takes on disk."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    @torch.no_grad()
    def read(self, indices: Tensor) -> Tensor:
        """The rows at ``indices``.

        Args:
            indices: (N,) int64 in any order, on the device that the rows are wanted on.

        Returns:
            (N, *shape), in bfloat16 where that is how they are stored, else in float32; in channels-last memory
            where they were written so.

        Raises:
            UsageError: for a row that is not there.
        """
        rows = indices.cpu()
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < self._rows:
            raise UsageError(
                f"{self.folder} holds rows 0 .. {self._rows - 1}; got {int(rows.min())} .. {int(rows.max())}"
            )
        values = self._values.index_select(0, rows).to(indices.device)
        if self._channels_last:
            values = values.movedim(-1, 1)
        if self.dtype != "uint8":
            return values
        steps = self._steps.index_select(0, torch.bucketize(rows, self._chunk_ends, right=True)).to(indices.device)
        low, step = (steps[:, part].reshape(_table_shape(len(rows), self.shape)) for part in (0, 1))
        return values.to(torch.float32).mul_(step).add_(low)


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
        values = values.detach()
        first = self._chunk_ends[-1] if self._chunk_ends else 0
        if self._shape is None:
            self._shape = tuple(values.shape[1:])
            self._channels_last = _is_channels_last(values)
        if values.shape[1:] != self._shape or first + len(values) > self._rows:
            raise LayerlinkError(
                f"{self.folder}: expected at most {self._rows - first} more rows of {self._shape}; "
                f"got {len(values)} of {tuple(values.shape[1:])}"
            )
        if not bool(values.isfinite().all()):
            last = first + len(values) - 1
            raise LayerlinkError(f"{self.folder}: expected finite numbers; rows {first} .. {last} hold NaN or infinity")
        kept, steps = _encode(values, self._dtype)
        self._count_error(values, kept, steps)
        with _told_as_error(self.folder):
            _write(self._values, kept.movedim(1, -1) if self._channels_last else kept)
            if steps is not None:
                _write(self._steps, steps)
        self._chunk_ends.append(first + len(values))

    def _count_error(self, values: Tensor, kept: Tensor, steps: Tensor | None) -> None:
        if kept.dtype == values.dtype:
            return
        read = kept.float()
        if steps is not None:
            low, step = (part.reshape(_table_shape(1, tuple(kept.shape[1:]))) for part in steps)
            read = read.mul_(step).add_(low)
        self._squares += float(values.float().square().sum(dtype=torch.float64))
        self._squares_off += float((read - values.float()).square_().sum(dtype=torch.float64))

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
        manifest = with_checksum(manifest, self._unfinished.path / STEPS)
        with (self._unfinished.path / MANIFEST).open("w", encoding="utf-8") as text:
            json.dump(manifest, text, indent=1)
            text.flush()
            os.fsync(text.fileno())
        self._unfinished.move_to_its_place()


def bytes_of_store(rows: int, shape: tuple[int, ...], dtype: StoreDtype, chunks: int = 1) -> int:
    """What a store will take on disk, up to its manifest's few kilobytes.

    Args:
        rows: how many.
        shape: of one row.
        dtype: how values are kept.
        chunks: in how many calls of ``StoreWriter.add`` they come.
    """
    steps = 8 * chunks * (shape[0] if shape else 1) if dtype == "uint8" else 0
    return rows * math.prod(shape) * DTYPES[dtype].itemsize + steps


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


def _table_shape(rows: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which a value per row and channel meets rows of ``shape``."""
    return (rows, *shape[:1], *(1 for _ in shape[1:]))


def _is_channels_last(values: Tensor) -> bool:
    return values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last) and not values.is_contiguous()


def _write(file: BinaryIO, values: Tensor) -> None:
    # As bytes: numpy has no bfloat16.
    file.write(values.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _mapped(path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    expected = math.prod(shape) * dtype.itemsize
    found = path.stat().st_size if path.is_file() else None
    if found != expected:
        there = "is missing" if found is None else f"has {found:,} bytes"
        raise damaged(path, f"{there}; expected {expected:,} bytes")
    # Not shared: the file is opened for reading alone.
    return torch.from_file(str(path), shared=False, size=math.prod(shape), dtype=dtype).view(shape)


@contextlib.contextmanager
def _told_as_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LayerlinkError(
            f"cannot write the store {folder}: {error}. Nothing is kept; free space or choose another folder"
        ) from error
