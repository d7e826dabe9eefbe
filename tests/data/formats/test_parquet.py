from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerlink.data.formats.parquet import find_shards, read_shards
from layerlink.data.sources.cifar import load_cifar
from layerlink.errors import LayerlinkError
from small_cifar import SMALL10, encoded, write_parquet, write_shard

BLACK = encoded(np.zeros((3, 32, 32), np.uint8))
NOISE = encoded(np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8))
NAME = "train-00000-of-00001.parquet"


def read(path: Path) -> object:
    return read_shards([path], "label", 10, 32)


def test_without_metadata_the_names_are_unknown_and_the_set_still_loads(tmp_path: Path) -> None:
    path = write_shard(tmp_path / NAME, [BLACK] * 20, [0] * 20, "label", None)
    assert read_shards([path], "label", 10, 32)[2] is None
    write_shard(tmp_path / "test-00000-of-00001.parquet", [BLACK] * 10, [9] * 10, "label", None)
    assert load_cifar(SMALL10, tmp_path).test.classes[9] == "truck"


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("train-00001-of-00002", r"expected 2 train shards; got 1\. Missing: train-00001-of-00002\.parquet\."),
        ("train-00000-of-00002", r"expected 2 train shards; got 1\. Missing: train-00000-of-00002\.parquet\."),
        ("test-00000-of-00001", "expected the test shards of one cutting.*got none"),
    ],
)
def test_a_missing_shard_is_named(gone: str, message: str, tmp_path: Path) -> None:
    write_parquet(tmp_path, SMALL10)
    (tmp_path / f"{gone}.parquet").unlink()
    with pytest.raises(LayerlinkError, match=message):
        load_cifar(SMALL10, tmp_path)


def test_shards_of_two_cuttings_are_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path, SMALL10)
    write_shard(tmp_path / NAME, [BLACK], [0], "label", None)
    with pytest.raises(LayerlinkError, match="got 'of-00001' and 'of-00002'"):
        find_shards(tmp_path)
    assert find_shards(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (NOISE[:400], r"row 4: expected a PNG, JPEG, WEBP, BMP image; got 400 bytes that do not decode"),
        (b"", r"row 4: expected .* image; got 0 bytes"),
        (None, r"row 4: expected the bytes of an image; got none"),
        (encoded(np.zeros((3, 32, 31), np.uint8)), r"row 4: expected a 32x32 RGB image; got 31x32 RGB"),
        (encoded(np.zeros((32, 32), np.uint8), "PNG"), r"row 4: expected a 32x32 RGB image; got 32x32 L"),
        (encoded(np.zeros((4, 32, 32), np.uint8), "PNG"), r"row 4: expected a 32x32 RGB image; got 32x32 RGBA"),
        (encoded(np.zeros((3, 32, 32), np.uint8), "GIF"), r"row 4: .*do not decode"),
    ],
)
def test_an_image_that_is_wrong_is_named_with_shard_and_row(cell: bytes | None, message: str, tmp_path: Path) -> None:
    path = write_shard(tmp_path / NAME, [BLACK] * 4 + [cell, BLACK, cell], [0] * 7, "label", None)
    with pytest.raises(LayerlinkError, match=f"{NAME}, {message}"):
        read(path)


def test_bad_images_of_a_shard_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    cells = [NOISE, NOISE[:400], BLACK, None, NOISE]
    path = write_shard(tmp_path / NAME, cells, [1, 2, 3, 4, 5], "label", None)
    split = read_shards([path, path], "label", 10, 32, skip_bad=True)
    assert split.labels.tolist() == [1, 3, 5, 1, 3, 5]
    assert split.images[:, 0].max(axis=(1, 2)).tolist() == [255, 0, 255, 255, 0, 255]
    assert [reason.partition(":")[0].rpartition(", ")[2] for reason in split.bad] == ["row 1", "row 3"] * 2
    write_parquet(tmp_path / "set", SMALL10)
    shard = tmp_path / "set" / "test-00000-of-00001.parquet"
    whole = load_cifar(SMALL10, tmp_path / "set").test
    write_shard(shard, [BLACK[:9], *[BLACK] * (len(whole) - 1)], whole.labels.tolist(), "label", SMALL10.classes)
    source = load_cifar(SMALL10, tmp_path / "set", skip_bad=True)
    assert torch.equal(source.test.labels, whole.labels[1:])
    assert len(source.bad) == 1
    with pytest.raises(LayerlinkError, match=r"row 0: .* do not decode"):
        load_cifar(SMALL10, tmp_path / "set")


@pytest.mark.parametrize("label", [-1, 10, 2**40])
def test_a_label_out_of_range_is_named_with_its_row(label: int, tmp_path: Path) -> None:
    path = write_shard(tmp_path / NAME, [BLACK] * 3, [0, 9, label], "label", None)
    with pytest.raises(LayerlinkError, match=rf"row 2: expected a label of 0\.\.9 in 'label'; got {label}\."):
        read(path)


def test_other_columns_are_told(tmp_path: Path) -> None:
    path = write_shard(tmp_path / NAME, [BLACK], [0], "fine_label", None)
    with pytest.raises(LayerlinkError, match=r"expected the columns 'img' and 'label'; got img, fine_label\."):
        read(path)
    pq.write_table(pa.table({"img": ["a"], "label": [1]}), path)
    with pytest.raises(LayerlinkError, match=r"expected 'img' as struct.* got string and int64"):
        read(path)
    image = pa.array([{"bytes": BLACK}])
    pq.write_table(pa.table({"img": image, "label": [0.5]}), path)
    with pytest.raises(LayerlinkError, match=r"'label' as whole numbers; got .* and double"):
        read(path)
    pq.write_table(pa.table({"img": image, "label": pa.array([None], pa.int64())}), path)
    with pytest.raises(LayerlinkError, match="expected a label in every row of 'label'"):
        read(path)
    pq.write_table(pa.table({"img": pa.array([None], image.type), "label": [1]}), path)
    with pytest.raises(LayerlinkError, match="row 0: expected the bytes of an image; got none"):
        read(path)


def test_class_names_that_differ_between_shards_are_told(tmp_path: Path) -> None:
    one = write_shard(tmp_path / "train-00000-of-00002.parquet", [BLACK], [0], "label", ("a", "b"))
    two = write_shard(tmp_path / "train-00001-of-00002.parquet", [BLACK], [0], "label", ("b", "a"))
    with pytest.raises(LayerlinkError, match="the same class names in every shard; got 2"):
        read_shards([one, two], "label", 10, 32)


@pytest.mark.parametrize("module", ["PIL.Image", "pyarrow.parquet"])
def test_a_missing_package_is_named_with_its_extra(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_shard(tmp_path / NAME, [BLACK], [0], "label", None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(LayerlinkError, match=r"pip install 'layerlink\[images\]'"):
        read(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / NAME
    return write_shard(path, [BLACK] * 8, list(range(8)), "label", SMALL10.classes).read_bytes()


@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_shard_cut_short_is_told(cut: float, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(LayerlinkError, match=f"{NAME}: expected a whole Parquet file"):
        read(path)


@given(place=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=16))
def test_a_damaged_shard_is_read_or_told(place: float, junk: bytes, whole: bytes, tmp_path: Path) -> None:
    start = int(place * len(whole))
    path = tmp_path / NAME
    path.write_bytes(whole[:start] + junk + whole[start + len(junk) :])
    with contextlib.suppress(LayerlinkError):
        split = read_shards([path], "label", 10, 32)
        assert len(split.images) == len(split.labels)


def test_a_shard_that_would_unpack_to_too_much_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_shard(tmp_path / NAME, [BLACK] * 20, [0] * 20, "label", None)
    monkeypatch.setattr("layerlink.data.formats.parquet.MOST_BYTES", 1000)
    with pytest.raises(LayerlinkError, match=r"would unpack to [\d,]+ bytes; at most 1,000 are read"):
        read(path)


def test_a_dictionary_that_repeats_a_large_value_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file says how large the value is, and not how often it stands there."""
    monkeypatch.setattr("layerlink.data.formats.parquet.MOST_BYTES", 3_000_000)
    image = pa.array(
        [{"bytes": b"\0" * 100_000, "path": ""}] * 600, pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    table = pa.table({"img": image, "label": pa.array([0] * 600, pa.int64())})
    pq.write_table(table, tmp_path / NAME, use_dictionary=True)
    assert (tmp_path / NAME).stat().st_size < 100_000
    with pytest.raises(LayerlinkError, match=r"unpacks to more than the 3,000,000 bytes|would unpack to"):
        read(tmp_path / NAME)
