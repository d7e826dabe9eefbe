from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from layerlink.data import cache as cache_module
from layerlink.data.cache import cached
from layerlink.data.images import ImageSet, Source
from layerlink.files.cache import cache_folder


class Builder:
    """Builds a small source and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Source:
        self.count += 1
        part = ImageSet(torch.full((4, 3, 2, 2), 7, dtype=torch.uint8), torch.tensor([0, 1, 1, 0]), ("a", "ü\n"))
        return Source(part, part.select(torch.tensor([1])))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "file").write_bytes(b"0123")
    return folder


def load(build: Builder, root: Path, *, settings: str = "", cache: Path | None = None, name: str = "x") -> Source:
    return cached(build, name=name, root=root, files=[root / "file"], settings=settings, cache=cache)


def assert_same(one: Source, two: Source) -> None:
    for a, b in ((one.train, two.train), (one.test, two.test)):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert a.classes == b.classes


def test_the_second_time_comes_from_the_cache(root: Path, cache_folder: Path) -> None:
    build = Builder()
    first, second = load(build, root), load(build, root)
    assert build.count == 1
    assert_same(first, second)
    (entry,) = cache_folder.iterdir()
    assert entry.name.startswith("x-")
    assert entry.suffix == ".safetensors"


def test_a_cache_folder_that_is_given_goes_before_the_variable(root: Path, tmp_path: Path, cache_folder: Path) -> None:
    load(Builder(), root, cache=tmp_path / "mine")
    assert len(list((tmp_path / "mine").iterdir())) == 1
    assert not cache_folder.exists()


def test_anything_that_changes_the_result_changes_the_key(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Builder()
    load(build, root)
    load(build, root, settings="size 8")
    load(build, root, name="y")
    assert build.count == 3
    stat = (root / "file").stat()
    (root / "file").write_bytes(b"01234")  # another size, the same time
    os.utime(root / "file", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    load(build, root)
    assert build.count == 4
    os.utime(root / "file", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    load(build, root)
    assert build.count == 5
    monkeypatch.setattr(cache_module, "FORMAT", -1)
    load(build, root)
    assert build.count == 6


def test_another_folder_with_files_alike_is_not_the_same(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_bytes(b"abcd")
    stat = (root / "file").stat()
    os.utime(other / "file", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    build = Builder()
    load(build, root)
    load(build, other)
    assert build.count == 2


@pytest.mark.parametrize(
    "damage", ["empty", "cut short", "a bit", "a class name", "the header", "not safetensors", "a folder"]
)
def test_a_damaged_entry_is_built_again_and_mended(damage: str, root: Path, cache_folder: Path) -> None:
    build = Builder()
    good = load(build, root)
    (entry,) = cache_folder.iterdir()
    data = entry.read_bytes()
    if damage == "a folder":
        entry.unlink()
        entry.mkdir()
    else:
        entry.write_bytes(
            {
                "empty": b"",
                "cut short": data[:-1],
                "a bit": data[:-1] + bytes([data[-1] ^ 1]),
                "a class name": data.replace(b'"[\\"a', b'"[\\"b'),
                "the header": data[:8] + b"x" + data[9:],
                "not safetensors": b"hello" * 100,
            }[damage]
        )
    assert_same(load(build, root), good)
    assert build.count == 2
    if damage != "a folder":
        assert_same(load(build, root), good)
        assert build.count == 2
    assert len(list(cache_folder.iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_no_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    build = Builder()
    for _ in range(2):
        load(build, root, cache=tmp_path / "file")
        load(build, root, cache=tmp_path / "file" / "below")
    assert build.count == 4


@pytest.mark.parametrize("fault", [OSError("no space left"), KeyboardInterrupt()])
def test_a_write_that_fails_half_way_leaves_nothing(
    fault: BaseException, root: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(tensors: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise fault

    monkeypatch.setattr(cache_module, "save_file", fail)
    with nullcontext() if isinstance(fault, OSError) else pytest.raises(KeyboardInterrupt):
        load(Builder(), root)
    assert list(cache_folder.iterdir()) == []


def test_a_file_that_changes_while_it_is_read_is_not_kept(root: Path, cache_folder: Path) -> None:
    class Slow(Builder):
        def __call__(self) -> Source:
            (root / "file").write_bytes(b"changed meanwhile")
            return super().__call__()

    load(Slow(), root)
    assert not cache_folder.exists()


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAYERLINK_CACHE", "")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "layerlink"

    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None


def test_what_somebody_else_put_there_is_built_again(
    root: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a place that others write to, an entry without this user's mark may hold anything."""
    build = Builder()
    mine = load(build, root)
    (entry,) = cache_folder.iterdir()
    config = os.environ["LAYERLINK_CONFIG"]
    monkeypatch.setenv("LAYERLINK_CONFIG", str(tmp_path / "stranger"))
    load(build, root)
    (planted,) = (path for path in cache_folder.iterdir() if path != entry)  # of every user another name
    os.replace(planted, entry)
    monkeypatch.setenv("LAYERLINK_CONFIG", config)
    assert_same(load(build, root), mine)
    assert build.count == 3
    entry.unlink()
    entry.symlink_to("/dev/zero")
    assert_same(load(build, root), mine)
    monkeypatch.setenv("LAYERLINK_CONFIG", str(root / "file" / "below"))  # where no key can be
    load(build, root)
    assert len(list(cache_folder.iterdir())) == 1
