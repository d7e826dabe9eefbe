from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from layerlink.errors import LayerlinkError
from layerlink.teachers.store import StoreDtype, StoreWriter, TensorStore
from layerlink.teachers.store.manifest import _is_count


def store(folder: Path, dtype: StoreDtype) -> Path:
    with StoreWriter(folder, {}, rows=2, dtype=dtype) as writer:
        writer.add(torch.randn(2, 3))
    return folder


def told(folder: Path) -> str:
    with pytest.raises(LayerlinkError) as caught:
        TensorStore(folder)
    return str(caught.value)


def test_a_manifest_of_another_kind_is_named(tmp_path: Path) -> None:
    folder = store(tmp_path / "store", "float32")
    names = json.loads((folder / "store.json").read_text())
    (folder / "store.json").write_text(json.dumps(list(names)))
    assert told(folder) == (
        f"{folder / 'store.json'} is damaged: it must hold fields; got list. The store is of no use: delete the folder "
        f"{folder} and fill it again"
    )


def test_steps_of_the_same_size_that_are_others_are_found(tmp_path: Path) -> None:
    folder = store(tmp_path / "store", "uint8")
    steps = (folder / "steps.bin").read_bytes()
    (folder / "steps.bin").write_bytes(steps[4:] + steps[:4])
    assert told(folder).startswith(f"{folder / 'store.json'} or steps.bin is damaged: the checksum is wrong. ")


def test_steps_that_are_gone_are_named_where_values_do_not_need_them(tmp_path: Path) -> None:
    folder = store(tmp_path / "store", "float32")
    (folder / "steps.bin").unlink()
    assert told(folder).startswith(f"{folder / 'steps.bin'} cannot be read ([Errno 2] No such file")


def test_the_order_of_entries_says_nothing(tmp_path: Path) -> None:
    folder = store(tmp_path / "store", "float32")
    manifest = json.loads((folder / "store.json").read_text())
    (folder / "store.json").write_text(json.dumps(dict(reversed(manifest.items()))))
    assert len(TensorStore(folder)) == 2


def test_counts_end_where_sizes_in_bytes_could_overflow() -> None:
    assert [_is_count(value) for value in (0, 97, 2**48 - 1)] == [True] * 3
    assert [_is_count(value) for value in (-1, 2**48, True, 1.0, "1")] == [False] * 5
