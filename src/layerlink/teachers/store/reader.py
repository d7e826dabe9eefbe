"""Tensors kept on disk, one row an example, mapped into memory to be read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from layerlink.data.copies import to_device
from layerlink.errors import UsageError
from layerlink.files.inside import regular
from layerlink.teachers.store.manifest import (
    DTYPES,
    STEPS,
    VALUES,
    StoreDtype,
    check_checksum,
    check_key,
    check_own,
    damaged,
    read_manifest,
    table_shape,
)


class TensorStore:
    """Rows of one tensor, read from a folder that a ``StoreWriter`` wrote. Any number of processes may read it.

    Args:
        folder: the store.
        key: what its content depends on, as given to the writer; None takes whatever is there.
        own: whether it must be this user's: in a place that others can write to, anybody could have put it there.

    Raises:
        LayerlinkError: where the folder is no whole store, or somebody else's.
        UsageError: where its key is another; the message lists what differs.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any] | None = None, *, own: bool = False) -> None:
        self.folder = folder
        manifest = read_manifest(folder)
        if own:
            check_own(folder, manifest)
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
    def read(self, indices: Tensor, device: torch.device | None = None) -> Tensor:
        """The rows at ``indices``.

        Args:
            indices: (N,) int64 in any order. Those of a device are waited for.
            device: where the rows are wanted; by default that of the indices.

        Returns:
            (N, *shape), in bfloat16 or int32 where that is how they are stored, else in float32; in channels-last
            memory where they were written so.

        Raises:
            UsageError: for a row that is not there.
        """
        rows, device = indices.cpu(), device or indices.device
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < self._rows:
            raise UsageError(
                f"{self.folder} holds rows 0 .. {self._rows - 1}; got {int(rows.min())} .. {int(rows.max())}"
            )
        values = to_device(self._values.index_select(0, rows), device)
        if self._channels_last:
            values = values.movedim(-1, 1)
        if self.dtype != "uint8":
            return values
        steps = to_device(self._steps.index_select(0, torch.bucketize(rows, self._chunk_ends, right=True)), device)
        low, step = (steps[:, part].reshape(table_shape(len(rows), self.shape)) for part in (0, 1))
        return values.to(torch.float32).mul_(step).add_(low)


def _mapped(path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    expected = math.prod(shape) * dtype.itemsize
    found = path.stat().st_size if path.is_file() else None
    if found != expected:
        there = "is missing" if found is None else f"has {found:,} bytes"
        raise damaged(path, f"{there}; expected {expected:,} bytes")
    # Not shared: the file is opened for reading alone.
    return torch.from_file(str(regular(path, path.parent)), shared=False, size=math.prod(shape), dtype=dtype).view(
        shape
    )
