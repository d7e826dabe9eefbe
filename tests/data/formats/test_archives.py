from __future__ import annotations

import contextlib
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerlink.data.formats import archives
from layerlink.data.formats.archives import read_archive, read_folder
from layerlink.errors import LayerlinkError
from small_cifar import write_archive

FILES = {"one": bytes(range(256)) * 20, "two": b"2"}


def test_members_are_read_and_nothing_is_written(tmp_path: Path) -> None:
    """Also not by members whose names lead out of the folder."""
    archive = tmp_path / "in" / "a.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in {"../escaped": b"x", str(tmp_path / "escaped"): b"x", "./f/one": b"1", "f/two": b"2"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    assert read_archive(archive, "f", ["one", "two"]) == {"one": b"1", "two": b"2"}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar.gz", "in"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        for kind, name in ((tarfile.SYMTYPE, "f/one"), (tarfile.LNKTYPE, "f/two")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(tmp_path / "secret")
            tar.addfile(member)
    with pytest.raises(LayerlinkError, match="missing: one, two"):
        read_archive(tmp_path / "a.tar.gz", "f", ["one", "two"])


def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MAX_BYTES", 100)
    archive = write_archive(tmp_path / "a.tar.gz", "f", FILES)
    (tmp_path / "one").write_bytes(FILES["one"])
    with pytest.raises(LayerlinkError, match=r"f/one: expected at most 100 bytes; got 5,120\."):
        read_archive(archive, "f", ["one"])
    with pytest.raises(LayerlinkError, match=r"one: expected at most 100 bytes; got 5,120\."):
        read_folder(tmp_path, ["one"])
    monkeypatch.setattr(archives, "_MAX_BYTES", 10_000)
    monkeypatch.setattr(archives, "_MAX_TOTAL", 4_000)
    with pytest.raises(LayerlinkError, match=r"a\.tar\.gz: expected at most 4,000 bytes; got"):
        read_archive(archive, "f", ["one"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_archive(tmp_path_factory.mktemp("whole") / "a.tar.gz", "f", FILES).read_bytes()


@given(cut=st.floats(0, 1, exclude_max=True))
def test_an_archive_cut_short_is_told(cut: float, whole: bytes, tmp_path: Path) -> None:
    """Also where only the checksum at its very end is missing."""
    for end in (int(cut * len(whole)), len(whole) - 1):
        (tmp_path / "a.tar.gz").write_bytes(whole[:end])
        with pytest.raises(LayerlinkError, match="damaged or cut short"):
            read_archive(tmp_path / "a.tar.gz", "f", list(FILES))


@given(place=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=16))
def test_a_damaged_archive_gives_the_right_bytes_or_is_told(
    place: float, junk: bytes, whole: bytes, tmp_path: Path
) -> None:
    start = int(place * len(whole))
    (tmp_path / "a.tar.gz").write_bytes(whole[:start] + junk + whole[start + len(junk) :])
    with contextlib.suppress(LayerlinkError):
        assert read_archive(tmp_path / "a.tar.gz", "f", list(FILES)) == FILES


@given(data=st.binary(max_size=400))
def test_random_bytes_are_told(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(data)
    with pytest.raises(LayerlinkError):
        read_archive(tmp_path / "a.tar.gz", "f", list(FILES))
