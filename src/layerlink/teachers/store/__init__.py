"""Tensors of a teacher on disk, one row an example; for anybody's loop."""

from __future__ import annotations

from layerlink.teachers.store.manifest import FORMAT, StoreDtype, bytes_of_store
from layerlink.teachers.store.reader import TensorStore
from layerlink.teachers.store.writer import Encoded, StoreWriter

__all__ = ["FORMAT", "Encoded", "StoreDtype", "StoreWriter", "TensorStore", "bytes_of_store"]
