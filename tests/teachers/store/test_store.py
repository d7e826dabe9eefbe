from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.whole_folder import PREFIX, SUFFIX
from layerlink.teachers.store import StoreDtype, StoreWriter, TensorStore, bytes_of_store

KEY = {"weights": "abc", "view": {"seed": 0, "epoch": 2}, "mean": [0.1, 0.25]}
SHAPES = [(20, 5, 4, 3), (20, 7), (20,), (20, 6, 3)]
CHUNKS = (8, 8, 4)


def activations(*shape: int) -> Tensor:
    """Like those after a ReLU: half of them 0, channels of very different size."""
    values = torch.randn(shape).relu()
    if len(shape) > 1:
        values *= torch.logspace(-3, 3, shape[1]).reshape(1, -1, *[1] * (len(shape) - 2))
    return values


def write(folder: Path, values: Tensor, dtype: StoreDtype = "float32", key: Any = KEY) -> TensorStore:
    with StoreWriter(folder, key, rows=len(values), dtype=dtype) as writer:
        for part in values.split(CHUNKS):
            writer.add(part)
    return TensorStore(folder, key)


def by_numpy(values: Tensor, dtype: str) -> np.ndarray[Any, Any]:
    """What a store of ``dtype`` is to give, computed without torch."""
    x = values.numpy().astype(np.float64)
    if dtype == "float32":
        return x
    if dtype == "bfloat16":  # the upper half of a float32's bits, rounded to the nearest, ties to even
        bits = values.contiguous().numpy().view(np.uint32).astype(np.uint64)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
        return rounded.astype(np.uint32).view(np.float32).astype(np.float64)
    parts = []
    for part in np.split(x, np.cumsum(CHUNKS)[:-1]):
        others = tuple(d for d in range(x.ndim) if d != 1)
        low, high = part.min(others, keepdims=True), part.max(others, keepdims=True)
        step = (high - low) / 255
        parts.append(low + np.rint((part - low) / step) * step)
    return np.concatenate(parts)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
def test_what_is_read_is_what_was_written_but_for_the_stated_error(
    tmp_path: Path, dtype: StoreDtype, shape: tuple[int, ...]
) -> None:
    values = activations(*shape)
    store = write(tmp_path / "store", values, dtype)
    expected = by_numpy(values, dtype)
    order = torch.tensor([19, 3, 3, 0, 8, 7, 15, 16])
    read = store.read(order)
    assert read.dtype == (torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    assert read.shape == (8, *shape[1:])
    tolerance = 0 if dtype != "uint8" else 1e-6 * float(values.max())
    assert np.abs(read.double().numpy() - expected[order]).max() <= tolerance
    x = values.double().numpy()
    assert store.error == pytest.approx(np.sqrt(((expected - x) ** 2).sum() / (x**2).sum()), rel=1e-3, abs=1e-12)
    assert len(store) == 20


def test_uint8_is_off_by_half_a_step_of_its_channel_at_most_and_keeps_zeros(tmp_path: Path) -> None:
    values = activations(20, 5, 4, 4)
    values[:, 3] = 0.7  # no variation
    read = write(tmp_path / "store", values, "uint8").read(torch.arange(20))
    for part, got in zip(values.split(CHUNKS), read.split(CHUNKS), strict=True):
        steps = (part.amax((0, 2, 3)) - part.amin((0, 2, 3))) / 255
        assert bool(((got - part).abs().amax((0, 2, 3)) <= steps * 0.5001).all())
        assert bool((got[part == 0] == 0).all())
    assert torch.equal(read[:, 3], values[:, 3])
    negative = activations(20, 5, 4, 4) - 3
    read = write(tmp_path / "negative", negative, "uint8").read(torch.arange(20))
    assert float((read - negative).norm() / negative.norm()) < 0.005


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
def test_channels_last_memory_comes_back_as_such(tmp_path: Path, dtype: StoreDtype) -> None:
    values = activations(20, 5, 4, 3)
    plain = write(tmp_path / "plain", values, dtype).read(torch.arange(3, 9))
    last = write(tmp_path / "last", values.contiguous(memory_format=torch.channels_last), dtype).read(
        torch.arange(3, 9)
    )
    assert torch.equal(plain, last)
    assert plain.is_contiguous()
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert not last.is_contiguous()


def test_a_store_of_no_rows_is_one(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", KEY, rows=0):
        pass
    assert len(TensorStore(tmp_path / "store", KEY)) == 0


def test_memory_of_any_other_order_is_written_as_it_reads(tmp_path: Path) -> None:
    wide = activations(20, 6, 4, 10)
    for number, values in enumerate((wide[..., ::2], wide.transpose(2, 3), wide[:, 0, 0].t().contiguous().t())):
        assert not values.is_contiguous()
        read = write(tmp_path / str(number), values).read(torch.arange(20))
        assert read.is_contiguous()
        assert torch.equal(read, values)


def test_numbers_so_small_that_steps_are_rough_stay_the_largest_of_their_channel(tmp_path: Path) -> None:
    smallest = 2.0**-149  # of float32
    values = torch.tensor([[0.0], [370 * smallest]])
    with StoreWriter(tmp_path / "store", KEY, rows=2, dtype="uint8") as writer:
        writer.add(values)
    assert TensorStore(tmp_path / "store").read(torch.arange(2)).tolist() == [[0], [255 * smallest]]


def test_bfloat16_values_are_kept_without_any_error(tmp_path: Path) -> None:
    values = activations(20, 5).bfloat16()
    store = write(tmp_path / "store", values, "bfloat16")
    assert store.error == 0
    assert torch.equal(store.read(torch.arange(20)), values)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
def test_the_size_is_known_before(tmp_path: Path, dtype: StoreDtype) -> None:
    store = write(tmp_path / "store", activations(20, 5, 4, 3), dtype)
    expected = bytes_of_store(20, (5, 4, 3), dtype, chunks=3)
    assert expected == {"float32": 4800, "bfloat16": 2400, "uint8": 1200 + 3 * 5 * 2 * 4}[dtype]
    assert store.nbytes == expected + (tmp_path / "store" / "store.json").stat().st_size
    single = write(tmp_path / "single", activations(20), dtype)
    assert single.nbytes == bytes_of_store(20, (), dtype, 3) + (tmp_path / "single" / "store.json").stat().st_size
    one_chunk = bytes_of_store(20, (5, 4, 3), dtype)
    assert one_chunk == {"float32": 4800, "bfloat16": 2400, "uint8": 1200 + 5 * 2 * 4}[dtype]


def test_a_store_of_something_else_is_refused_with_all_that_differs(tmp_path: Path) -> None:
    write(tmp_path / "store", activations(20, 5))
    with pytest.raises(UsageError) as refused:
        TensorStore(tmp_path / "store", {**KEY, "weights": "xyz", "view": {"seed": 1, "epoch": 2}, "dtype": "uint8"})
    assert str(refused.value) == (
        f"{tmp_path / 'store'} is a store of something else:\n"
        "  weights: expected 'xyz'; got 'abc'\n"
        "  view: expected {'seed': 1, 'epoch': 2}; got {'seed': 0, 'epoch': 2}\n"
        "  dtype: expected 'uint8'; got None\n"
        "Delete the folder, or name another"
    )
    assert TensorStore(tmp_path / "store").key == KEY


@pytest.mark.parametrize("name", ["values.bin", "steps.bin"])
@pytest.mark.parametrize("change", ["shorter", "longer", "gone"])
def test_a_file_of_another_size_is_named(tmp_path: Path, name: str, change: str) -> None:
    write(tmp_path / "store", activations(20, 5), "uint8")
    path = tmp_path / "store" / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] if change == "shorter" else content + b"0")
    if change == "gone":
        path.unlink()
    there = {
        "shorter": f"has {len(content) - 1} bytes",
        "longer": f"has {len(content) + 1} bytes",
        "gone": "is missing",
    }
    with pytest.raises(
        LayerlinkError, match=rf"{name} {there[change]}; expected {len(content)} bytes.*delete the fold"
    ):
        TensorStore(tmp_path / "store", KEY)


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    write(tmp_path / "store", activations(20, 5))
    path = tmp_path / "store" / "store.json"
    manifest = json.loads(path.read_text())
    for text, reason in (
        ("{", r"is missing or damaged"),
        ("{}", r"is damaged: format, key, rows"),
        (json.dumps({**manifest, "format": 99}), r"has format 99; this version of layerlink reads format 1"),
    ):
        path.write_text(text)
        with pytest.raises(LayerlinkError, match=reason):
            TensorStore(tmp_path / "store", KEY)
    with pytest.raises(LayerlinkError, match="is missing or damaged"):
        TensorStore(tmp_path / "nothing")


def test_rows_that_are_not_there_are_refused(tmp_path: Path) -> None:
    store = write(tmp_path / "store", activations(20, 5))
    assert store.read(torch.tensor([19])).shape == (1, 5)
    for row in (-1, 20):
        with pytest.raises(UsageError, match=r"holds rows 0 .. 19; got"):
            store.read(torch.tensor([3, row]))
    assert store.read(torch.tensor([], dtype=torch.int64)).shape == (0, 5)


def write_parts(folder: Path, parts: Iterable[Tensor]) -> None:
    with StoreWriter(folder, KEY, rows=20) as writer:
        for part in parts:
            writer.add(part)


def test_a_writer_that_does_not_get_to_its_end_leaves_nothing(tmp_path: Path) -> None:
    good = activations(8, 5)

    def interrupted() -> Iterator[Tensor]:
        yield good
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_parts(tmp_path / "store", interrupted())
    for parts, reason in (
        ([good], r"expected 20 rows; got 8. Nothing is kept"),
        ([], r"expected 20 rows; got 0"),
        ([good, torch.full((3, 5), float("nan"))], r"rows 8 .. 10 hold NaN or infinity"),
        ([good, torch.zeros(3, 4)], r"at most 12 more rows of \(5,\); got 3 of \(4,\)"),
        ([good, torch.zeros(13, 5)], r"at most 12 more rows of \(5,\); got 13 of \(5,\)"),
    ):
        with pytest.raises(LayerlinkError, match=reason):
            write_parts(tmp_path / "store", parts)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: Any, _values: Tensor) -> None:
        raise OSError(28, "No space left on device")

    told = (
        f"cannot write the store {tmp_path / 'store'}: [Errno 28] No space left on device. Nothing is kept; free space "
        "or choose another folder"
    )
    with monkeypatch.context() as patched:
        patched.setattr("layerlink.teachers.store.writer._write", full)
        with pytest.raises(LayerlinkError) as caught:
            write(tmp_path / "store", activations(20, 5))
    assert str(caught.value) == told
    monkeypatch.setattr("os.fsync", lambda _handle: full(None, torch.zeros(0)))  # what was written is still in memory
    with pytest.raises(LayerlinkError) as caught:
        write(tmp_path / "store", activations(20, 5))
    assert str(caught.value) == told
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_when_files_are_closed_too_is_told_once(tmp_path: Path) -> None:
    class Full:
        def write(self, _data: Any) -> None:
            raise OSError(28, "No space left on device")

        close = flush = lambda self: self.write(b"")

    def fill() -> None:
        with StoreWriter(tmp_path / "store", KEY, rows=1) as writer:
            writer._values.close()
            writer._values = Full()  # type: ignore[assignment]
            writer.add(torch.ones(1, 3))

    with pytest.raises(LayerlinkError, match="cannot write the store"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LayerlinkError, match=f"^cannot write the store {tmp_path / 'file' / 'store'}: "):
        write(tmp_path / "file" / "store", activations(20, 5))


def test_the_store_of_a_quicker_process_stays(tmp_path: Path) -> None:
    ours, theirs = activations(20, 5), activations(20, 5)
    with StoreWriter(tmp_path / "store", KEY, rows=20) as writer:
        writer.add(ours)
        write(tmp_path / "store", theirs)
    assert torch.equal(TensorStore(tmp_path / "store").read(torch.arange(20)), theirs)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


WRITE = """\
import sys, time, torch
from pathlib import Path
from layerlink.teachers.store import StoreWriter
with StoreWriter(Path(sys.argv[1]), {}, rows=2) as writer:
    writer.add(torch.ones(1, 3))
    print("writing", flush=True)
    time.sleep(float(sys.argv[2]))
    writer.add(torch.ones(1, 3))
"""


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITE, str(folder), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def test_what_a_killed_writer_left_is_removed_by_the_next_but_not_what_a_living_one_writes(tmp_path: Path) -> None:
    strange = tmp_path / ".somebody-elses.part"
    strange.mkdir()
    killed, living = start(tmp_path / "killed", 600), start(tmp_path / "living", 600)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert len(list(tmp_path.glob(f"{PREFIX}*{SUFFIX}"))) == 2
    write(tmp_path / "store", activations(20, 5))
    assert len(list(tmp_path.glob(f"{PREFIX}*{SUFFIX}"))) == 1
    os.kill(living.pid, signal.SIGINT)
    living.communicate()
    deadline = time.monotonic() + 10
    while len(list(tmp_path.iterdir())) > 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".somebody-elses.part", "store"]


def test_two_processes_that_write_one_store_both_end_well(tmp_path: Path) -> None:
    first, second = start(tmp_path / "store", 0.2), start(tmp_path / "store", 0.2)
    assert (first.wait(), second.wait()) == (0, 0)
    for process in (first, second):
        process.communicate()
    assert torch.equal(TensorStore(tmp_path / "store").read(torch.tensor([1, 0])), torch.ones(2, 3))
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_reading_needs_no_right_to_write(tmp_path: Path) -> None:
    values = activations(20, 5)
    write(tmp_path / "store", values)
    for path in (tmp_path / "store").iterdir():
        path.chmod(0o444)
    store = TensorStore(tmp_path / "store", KEY)
    read = store.read(torch.arange(20))
    read.add_(1)
    store._values.add_(1)  # a copy of the process's own: the file stays
    assert torch.equal(TensorStore(tmp_path / "store", KEY).read(torch.arange(20)), values)


def test_an_unknown_dtype_is_told() -> None:
    with pytest.raises(UsageError, match="dtype must be one of float32, bfloat16, uint8, int32; got 'int4'"):
        StoreWriter(Path("store"), {}, rows=1, dtype="int4")  # type: ignore[arg-type]


def test_a_store_of_somebody_else_is_refused_where_it_must_be_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "it", torch.ones(20, 3))
    assert len(TensorStore(tmp_path / "it", KEY, own=True)) == 20
    with monkeypatch.context() as patch:
        patch.setenv("LAYERLINK_CONFIG", str(tmp_path / "stranger"))
        with pytest.raises(LayerlinkError, match=r"was not stored by you.*teacher\.store\.root"):
            TensorStore(tmp_path / "it", KEY, own=True)
        assert len(TensorStore(tmp_path / "it", KEY)) == 20  # who names a folder himself means it
    (tmp_path / "it" / "values.bin").chmod(0o666)  # anybody could have changed it since
    with pytest.raises(LayerlinkError, match="was not stored by you"):
        TensorStore(tmp_path / "it", KEY, own=True)


def test_files_of_a_store_lie_in_it(tmp_path: Path) -> None:
    write(tmp_path / "it", torch.ones(20, 3))
    for name in ("values.bin", "store.json"):
        (tmp_path / "it" / name).rename(tmp_path / name)
        (tmp_path / "it" / name).symlink_to(tmp_path / name)
        with pytest.raises(LayerlinkError, match="leads out of"):
            TensorStore(tmp_path / "it")
        (tmp_path / "it" / name).unlink()
        (tmp_path / name).rename(tmp_path / "it" / name)
