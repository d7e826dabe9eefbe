from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from layerlink.data.images import Source
from layerlink.data.sources.cifar import CIFAR10, CIFAR100, Cifar, load_cifar
from layerlink.data.sources.table import load_source
from layerlink.errors import LayerlinkError, UsageError
from small_cifar import (
    SMALL10,
    SMALL100,
    binary_files,
    new_pickle,
    old_pickle,
    pixels,
    python_files,
    write_archive,
    write_folder,
    write_parquet,
)

BOTH = pytest.mark.parametrize("which", [SMALL10, SMALL100], ids=["cifar10", "cifar100"])


def assert_is(which: Cifar, source: Source) -> None:
    for split, part in (("train", source.train), ("test", source.test)):
        images, labels = pixels(which, split)
        assert torch.equal(part.images, torch.from_numpy(images))
        assert torch.equal(part.labels, torch.from_numpy(labels))
        assert part.classes == which.classes
        part.images.zero_()  # in memory of our own


def lay_out(which: Cifar, root: Path, layout: str) -> Path:
    """Writes the set into ``root`` and returns what to give as root."""
    python, binary = which.originals
    if layout == "parquet":
        return write_parquet(root, which)
    if layout == "parquet png":
        return write_parquet(root, which, "PNG")
    if layout == "python":
        return write_folder(root / python.folder, python_files(which)).parent
    if layout == "python itself":
        return write_folder(root / "renamed", python_files(which))
    if layout == "python pickled anew":
        return write_folder(root / python.folder, python_files(which, new_pickle)).parent
    if layout == "binary":
        return write_folder(root / binary.folder, binary_files(which)).parent
    if layout == "binary itself":
        return write_folder(root / "renamed", binary_files(which))
    if layout == "python archive":
        return write_archive(root / python.archive, python.folder, python_files(which)).parent
    return write_archive(root / binary.archive, binary.folder, binary_files(which)).parent


LAYOUTS = [
    "parquet",
    "parquet png",
    "python",
    "python itself",
    "python pickled anew",
    "binary",
    "binary itself",
    "python archive",
    "binary archive",
]


@BOTH
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_pixels(which: Cifar, layout: str, tmp_path: Path) -> None:
    root = lay_out(which, tmp_path / "data", layout)
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    for _ in range(2):  # the second time from the cache, where there is one
        assert_is(which, load_cifar(which, root, size=64))
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before, "root must stay as it is"


def test_the_hand_written_old_pickle_is_what_python_reads() -> None:
    """The helper against Python's own unpickler, which is trusted with a file of our own making."""
    value = {b"a": [1, -2, 300], b"text": b"x" * 300, b"data": np.arange(6, dtype=np.uint8).reshape(2, 3)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the old pickles name numpy.core
        read = pickle.loads(old_pickle(value), encoding="bytes")
    assert read[b"a"] == value[b"a"]
    assert read[b"text"] == value[b"text"]
    assert np.array_equal(read[b"data"], value[b"data"])


@pytest.mark.parametrize(
    ("name", "means", "per_class"),
    [
        ("cifar10", ["125.307", "122.950", "113.865"], (5000, 1000)),
        ("cifar100", ["129.304", "124.070", "112.434"], (500, 100)),
    ],
)
def test_the_real_sets_have_the_published_means_and_counts(
    name: str, means: list[str], per_class: tuple[int, int], shared_data: Path
) -> None:
    source = load_source(name, shared_data / name)
    sums = source.train.images.sum(dim=(0, 2, 3), dtype=torch.int64)
    assert [f"{int(one) / (50_000 * 1024):.3f}" for one in sums] == means
    assert source.train.images.shape == (50_000, 3, 32, 32)
    assert source.test.images.shape == (10_000, 3, 32, 32)
    assert set(source.train.labels.bincount().tolist()) == {per_class[0]}
    assert set(source.test.labels.bincount().tolist()) == {per_class[1]}


def test_class_names() -> None:
    assert CIFAR10.classes == (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
    assert len(set(CIFAR100.classes)) == 100
    assert list(CIFAR100.classes) == sorted(CIFAR100.classes)
    assert (CIFAR100.classes[0], CIFAR100.classes[99]) == ("apple", "worm")


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_root_without_data_is_answered_with_the_layouts_and_how_to_download(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    dashed = name.replace("cifar", "cifar-")
    for root, state in (
        (None, "needs root"),
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path, "holds none of them"),
        (tmp_path / "file", "is a file"),
    ):
        with pytest.raises(UsageError) as told:
            load_source(name, root)
        text = str(told.value)
        for part in (state, str(root or ""), "train-*.parquet", f"{dashed}-python.tar.gz", f"{dashed}-binary.tar.gz"):
            assert part in text
        assert f"https://www.cs.toronto.edu/~kriz/{dashed}-python.tar.gz" in text


@BOTH
@pytest.mark.parametrize("form", ["python", "binary"])
def test_every_missing_file_is_named(which: Cifar, form: str, tmp_path: Path) -> None:
    files = python_files(which) if form == "python" else binary_files(which)
    original = which.originals[form == "binary"]
    del files[original.test], files[original.names]
    root = write_folder(tmp_path / original.folder, files)
    write_archive(tmp_path / "archived" / original.archive, original.folder, files)
    for place in (root, root.parent, tmp_path / "archived"):
        with pytest.raises(LayerlinkError, match=f"missing: {original.test}, {original.names}"):
            load_cifar(which, place)


def test_a_wrong_number_of_images_is_told(tmp_path: Path) -> None:
    files = binary_files(SMALL10)
    files["data_batch_3.bin"] += files["data_batch_3.bin"][:3073]
    write_folder(tmp_path / "bin", files)
    with pytest.raises(LayerlinkError, match=r"data_batch_3\.bin: expected 4 images; got 5\."):
        load_cifar(SMALL10, tmp_path / "bin")
    write_parquet(tmp_path / "parquet", SMALL10)
    with pytest.raises(LayerlinkError, match=r"train-\*\.parquet: expected 21 images; got 20\."):
        load_cifar(replace(SMALL10, train_images=21), tmp_path / "parquet")
    with pytest.raises(LayerlinkError, match=r"expected 50,000 images; got 20\."):
        load_cifar(CIFAR10, tmp_path / "parquet")


def test_a_binary_file_of_a_wrong_length_is_told(tmp_path: Path) -> None:
    files = binary_files(SMALL100)
    files["test.bin"] = files["test.bin"][:-1]
    write_folder(tmp_path / "bin", files)
    with pytest.raises(LayerlinkError, match=r"test\.bin: expected records of 3074 bytes; .* 9 records and 3073"):
        load_cifar(SMALL100, tmp_path / "bin")


def test_labels_out_of_range_are_told(tmp_path: Path) -> None:
    files = binary_files(SMALL10)
    files["data_batch_2.bin"] = files["data_batch_2.bin"][:3073] + b"\x0a" + files["data_batch_2.bin"][3074:]
    write_folder(tmp_path / "bin", files)
    with pytest.raises(LayerlinkError, match=r"data_batch_2\.bin, image 1: expected a label of 0\.\.9; got 10\."):
        load_cifar(SMALL10, tmp_path / "bin")


@pytest.mark.parametrize("form", ["python", "binary"])
def test_other_class_names_are_told(form: str, tmp_path: Path) -> None:
    files = python_files(SMALL10) if form == "python" else binary_files(SMALL10)
    names = SMALL10.originals[form == "binary"].names
    files[names] = files[names].replace(b"airplane", b"aeroplan")
    write_folder(tmp_path / "data", files)
    with pytest.raises(LayerlinkError, match=r"from 'airplane' to 'truck'; got 10 \('aeroplan', .*that differ"):
        load_cifar(SMALL10, tmp_path / "data")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"data": np.zeros((4, 3071), np.uint8)}, r"expected 'data' of shape \(N, 3072\); got \(4, 3071\)"),
        ({b"data": b"none"}, r"expected 'data' of shape \(N, 3072\); got bytes"),
        ({b"labels": [0, 1, 2]}, "expected 4 labels, one an image; got 3"),
        ({b"labels": [0, 1, 2, b"3"]}, "expected a list of whole numbers at 'labels'"),
        ({b"labels": b"0123"}, "expected a list of whole numbers at 'labels'; got bytes"),
    ],
)
def test_pickles_of_something_else_are_told(change: dict[bytes, object], message: str, tmp_path: Path) -> None:
    files = python_files(SMALL10)
    files["data_batch_1"] = old_pickle({b"labels": [0] * 4, b"data": np.zeros((4, 3072), np.uint8)} | change)
    write_folder(tmp_path / "data", files)
    with pytest.raises(LayerlinkError, match=f"data_batch_1: {message}"):
        load_cifar(SMALL10, tmp_path / "data")
