"""Stores that are damaged in any way: the rows that were written, or told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cases import cases, damages
from layerlink.errors import LayerlinkError
from layerlink.teachers.store import StoreDtype, StoreWriter, TensorStore
from trees import changed_trees

DTYPES = st.sampled_from(["float32", "bfloat16", "uint8"])
KEY = {"weights": "abc", "view": {"seed": 0}}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    values = torch.randn(12, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    made = {}
    for dtype in ("float32", "bfloat16", "uint8"):
        made[dtype] = tmp_path_factory.mktemp("stores") / dtype
        with StoreWriter(made[dtype], KEY, rows=12, dtype=dtype) as writer:
            for part in values.split(5):
                writer.add(part)
    return made


@given(data=st.data(), dtype=DTYPES, name=st.sampled_from(["store.json", "steps.bin"]))
@cases(1)
def test_a_store_whose_meaning_is_damaged_gives_the_same_rows_or_is_told(
    data: st.DataObject, dtype: StoreDtype, name: str, stores: dict[str, Path]
) -> None:
    file = stores[dtype] / name
    whole, rows = file.read_bytes(), torch.arange(12)
    right = TensorStore(stores[dtype], KEY).read(rows).clone()
    if name == "store.json" and data.draw(st.booleans()):
        changed = json.dumps(data.draw(changed_trees([json.loads(whole)]))).encode()
    else:
        changed = data.draw(damages(whole))
    try:
        file.write_bytes(changed)
        try:
            found = TensorStore(stores[dtype], data.draw(st.sampled_from([KEY, None]))).read(rows)
        except LayerlinkError as error:
            assert str(stores[dtype]) in str(error)
        else:
            assert torch.equal(found, right) or (name == "store.json" and b'"checksum"' not in changed)
    finally:
        file.write_bytes(whole)


@given(data=st.data(), dtype=DTYPES)
def test_values_of_another_size_are_told(data: st.DataObject, dtype: StoreDtype, stores: dict[str, Path]) -> None:
    file = stores[dtype] / "values.bin"
    whole = file.read_bytes()
    changed = data.draw(damages(whole))
    try:
        file.write_bytes(changed)
        if len(changed) == len(whole):
            assert len(TensorStore(stores[dtype])) == 12
        else:
            with pytest.raises(LayerlinkError, match=r"values\.bin has"):
                TensorStore(stores[dtype])
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 11}, "chunk_ends cannot be"),
        ({"key": 3}, "key cannot be '3'"),
        ({"rows": "x"}, "rows cannot be 'x'"),
        ({"channels_last": 1}, "channels_last cannot be '1'"),
        ({"dtype": "float8"}, "dtype cannot be 'float8'"),
        ({"dtype": "x" * 100}, f"dtype cannot be '{'x' * 60}'"),
        ({"shape": "x"}, "shape cannot be 'x'"),
        ({"chunk_ends": [6, 10, 12]}, "the checksum is wrong"),
        ({"error": None}, "error cannot be"),
        ({"more": 1}, "unknown entry 'more'"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(
    change: dict[str, Any], message: str, stores: dict[str, Path], tmp_path: Path
) -> None:
    file = stores["uint8"] / "store.json"
    whole = file.read_text()
    try:
        file.write_text(json.dumps({**json.loads(whole), **change}))
        with pytest.raises(LayerlinkError, match=message):
            TensorStore(stores["uint8"])
        older = json.loads(whole)
        del older["checksum"]
        file.write_text(json.dumps(older))
        assert len(TensorStore(stores["uint8"])) == 12  # as stores of before have none
    finally:
        file.write_text(whole)
