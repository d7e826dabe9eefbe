"""Every reader of images on files that are damaged in any way: the right images, or told."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cases import cases, damages
from layerlink.data.images import Source
from layerlink.data.sources.cifar import Cifar, load_cifar
from layerlink.data.sources.folder import load_folder
from layerlink.errors import LayerlinkError
from small_cifar import SMALL10, SMALL100, binary_files, python_files, write_archive, write_folder, write_parquet

Write = Callable[[Path], Path]  # writes a whole set and gives the file to damage


def same(one: Source, two: Source) -> bool:
    pairs = ((one.train, two.train), (one.test, two.test))
    return all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and a.classes == b.classes for a, b in pairs
    )


def archive(folder: Path) -> Path:
    return write_archive(folder / "cifar-10-python.tar.gz", "cifar-10-batches-py", python_files(SMALL10))


def binary_archive(folder: Path) -> Path:
    return write_archive(folder / "cifar-100-binary.tar.gz", "cifar-100-binary", binary_files(SMALL100))


def checked_parquet(folder: Path) -> Path:
    """Shards whose pages carry checksums."""
    write_parquet(folder, SMALL10, "PNG")
    for path in sorted(folder.glob("*.parquet")):
        pq.write_table(pq.read_table(path), path, row_group_size=3, write_page_checksum=True)
    return folder / "train-00000-of-00002.parquet"


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Cifar, Path, bytes, Source]]:
    """By name: which set, the file to damage, its bytes, and what it holds."""
    made = {}
    for write, which in ((archive, SMALL10), (binary_archive, SMALL100), (checked_parquet, SMALL10)):
        folder = tmp_path_factory.mktemp(write.__name__)
        file = write(folder)
        made[write.__name__] = (which, file, file.read_bytes(), load_cifar(which, folder, cache=folder / "cache"))
    return made


@pytest.mark.parametrize("name", ["archive", "binary_archive", "checked_parquet"])
@given(data=st.data())
@cases(0.5)
def test_a_damaged_set_with_checksums_is_the_right_one_or_told(
    name: str, data: st.DataObject, sets: dict[str, tuple[Cifar, Path, bytes, Source]]
) -> None:
    which, file, whole, right = sets[name]
    file.write_bytes(data.draw(damages(whole)))
    try:
        # Nothing may come from the cache: sizes and times of files could be those of before.
        found = load_cifar(which, file.parent, cache=Path("/dev/null/none"))
    except LayerlinkError as error:
        assert str(error)
    else:
        assert same(found, right)


@pytest.mark.parametrize("form", ["python", "binary"])
@given(data=st.data())
@cases(0.5)
def test_a_damaged_extracted_file_is_a_whole_set_or_told(form: str, data: st.DataObject, tmp_path: Path) -> None:
    """These have no checksums: what can be told is what does not fit a set of this kind."""
    files = python_files(SMALL10) if form == "python" else binary_files(SMALL10)
    name = data.draw(st.sampled_from(sorted(files)))
    folder = tmp_path / "set"
    if not folder.exists():
        write_folder(folder, files)
    for each, content in files.items():
        (folder / each).write_bytes(data.draw(damages(content)) if each == name else content)
    try:
        found = load_cifar(SMALL10, folder)
    except LayerlinkError as error:
        assert str(error)
        return
    assert (len(found.train), len(found.test)) == (20, 10)
    assert found.train.classes == SMALL10.classes


def encoded(form: str, mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(out, form)
    return out.getvalue()


IMAGES = {form: encoded(form) for form in ("PNG", "JPEG", "WEBP", "BMP")} | {"palette": encoded("PNG", "P")}


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for part in ("train", "test"):
        (root / part / "one").mkdir(parents=True)
        (root / part / "one" / "a.png").write_bytes(IMAGES["PNG"])
    return root


@given(data=st.data(), form=st.sampled_from(sorted(IMAGES)))
@cases(1)
def test_a_damaged_image_is_an_image_or_told(data: st.DataObject, form: str, image_folder: Path) -> None:
    file = image_folder / "train" / "one" / "a.png"
    file.write_bytes(data.draw(damages(IMAGES[form])))
    try:
        found = load_folder(image_folder, size=6, cache=Path("/dev/null/none"))
    except LayerlinkError as error:
        assert str(file) in str(error)
        return
    assert found.train.images.shape == (1, 3, 6, 6)
    if form == "PNG":  # its pieces carry checksums
        file.write_bytes(IMAGES[form])
        assert same(found, load_folder(image_folder, size=6, cache=Path("/dev/null/none")))


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, bytes, Source]:
    """A folder of images, its entry in the cache, what that holds, and the images."""
    root, cache = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("cache")
    for number in range(5):
        (root / "one").mkdir(exist_ok=True)
        (root / "one" / f"{number}.png").write_bytes(IMAGES["PNG"])
    right = load_folder(root, size=6, cache=cache)
    (entry,) = cache.iterdir()
    return root, entry, entry.read_bytes(), right


@given(data=st.data())
@cases(0.5)
def test_a_damaged_cache_gives_the_right_images(data: st.DataObject, cached: tuple[Path, Path, bytes, Source]) -> None:
    root, entry, whole, right = cached
    entry.write_bytes(data.draw(damages(whole)))
    assert same(load_folder(root, size=6, cache=entry.parent), right)
