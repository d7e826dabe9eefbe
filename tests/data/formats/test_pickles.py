from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerlink.data.formats.pickles import RefusedError, read_pickle
from layerlink.data.sources.cifar import load_cifar
from layerlink.errors import LayerlinkError
from small_cifar import SMALL10, new_pickle, old_pickle, python_files, write_folder

GOOD = old_pickle({b"labels": [1, 2], b"data": np.arange(8, dtype=np.uint8).reshape(2, 4)})


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_pickle_does_not_run(protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    hostile = pickle.dumps({b"data": Calls(os.mkdir, str(mark))}, protocol=protocol)
    files = python_files(SMALL10) | {"data_batch_1": hostile}
    root = write_folder(tmp_path / "data", files)
    with pytest.raises(RefusedError, match=r"data_batch_1: .*asks for posix\.mkdir|asks for nt\.mkdir"):
        load_cifar(SMALL10, root)
    assert not mark.exists()
    pickle.loads(hostile)
    assert mark.exists(), "the pickle must be one that would run"


@pytest.mark.parametrize(
    "call",
    [Calls(eval, "1"), Calls(print, "x"), Calls(getattr, "", "upper"), Calls(np.load, "x"), Calls(bytearray, b"x")],
)
def test_every_other_name_is_refused(call: Calls) -> None:
    with pytest.raises(RefusedError, match="refused and nothing in it has run"):
        read_pickle(pickle.dumps({b"data": call}, protocol=2), "file")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"c_codecs\nencode\nN}\x55\x01axs\x86b", id="attributes of a stand-in class"),
        pytest.param(b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R", id="another codec"),
        pytest.param(b"Pan id\n", id="a persistent id"),
        pytest.param(b"r\xff\xff\xff\x7f", id="a memo of gigabytes"),
    ],
)
def test_tricks_are_refused(body: bytes) -> None:
    with pytest.raises(LayerlinkError):
        read_pickle(b"\x80\x02}U\x01a" + body + b"s.", "file")
    assert read_pickle(new_pickle({b"data": b"\xff"}), "file") == {b"data": b"\xff"}


@pytest.mark.parametrize("dtype", [np.float32, np.int64, object])
def test_arrays_of_other_types_are_refused(dtype: Any) -> None:
    with pytest.raises(LayerlinkError, match="not of dtype uint8"):
        read_pickle(new_pickle({b"data": np.zeros((2, 2), dtype)}), "file")


def test_rows_and_columns_keep_their_places_in_either_memory_order() -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for one in (array, np.asfortranarray(array)):
        assert np.array_equal(read_pickle(new_pickle({b"data": one}), "file")[b"data"], array)


def test_what_is_no_dictionary_is_told() -> None:
    with pytest.raises(LayerlinkError, match="a list instead of a dictionary"):
        read_pickle(pickle.dumps([1]), "file")


@given(st.integers(0, len(GOOD) - 1))
def test_a_pickle_cut_short_is_told(end: int) -> None:
    with pytest.raises(LayerlinkError, match=r"cut short|refused"):
        read_pickle(GOOD[:end], "file")


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_pickle_is_read_or_told(place: int, junk: bytes) -> None:
    with contextlib.suppress(LayerlinkError):
        assert isinstance(read_pickle(GOOD[:place] + junk + GOOD[place + len(junk) :], "file"), dict)


@given(st.binary(max_size=200))
def test_random_bytes_are_told(data: bytes) -> None:
    with contextlib.suppress(LayerlinkError):
        assert isinstance(read_pickle(b"\x80\x02}" + data, "file"), dict)
