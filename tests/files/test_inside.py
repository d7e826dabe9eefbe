"""What is read and written in a folder that somebody else may have filled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from layerlink.errors import LayerlinkError
from layerlink.files.inside import PlaceError, append_line, inside, read_bytes, read_text, regular
from layerlink.files.whole import write_text, write_whole


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("mine")
    return tmp_path / "in"


def test_a_regular_file_is_read_and_so_is_a_link_that_stays_inside(folder: Path) -> None:
    (folder / "a").write_bytes(b"one\r\ntwo\rthree\n")
    (folder / "b").symlink_to("a")
    assert read_text(folder / "a", folder) == "one\ntwo\nthree\n"
    assert read_bytes(folder / "b", folder) == b"one\r\ntwo\rthree\n"
    assert regular(folder / "b", folder) == (folder / "a").resolve()
    (folder / "a").write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        read_text(folder / "a", folder)


def test_nothing_else_is(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/zero")
    (folder / "out").symlink_to("../secret")
    (folder / "loop").symlink_to("loop")
    (folder / "folder").mkdir()
    (folder / "large").write_text("x" * 11)
    for name, what in (
        ("pipe", "is a pipe and no regular file"),
        ("device", "leads out of"),
        ("out", "leads out of"),
        ("folder", "is a folder and no regular file"),
        ("large", "has 11 bytes; at most 10 are read"),
    ):
        for read in (lambda path: read_bytes(path, folder, 10), lambda path: regular(path, folder, 10)):
            with pytest.raises(PlaceError, match=what):
                read(folder / name)
    with pytest.raises(PlaceError, match="is a device"):
        regular(Path("/dev/zero"))
    for name in ("loop", "missing"):
        with pytest.raises(OSError, match=r"Errno"):
            read_bytes(folder / name, folder)


def test_a_place_error_is_one_of_layerlink_and_of_the_system() -> None:
    assert issubclass(PlaceError, LayerlinkError)
    assert issubclass(PlaceError, OSError)
    assert str(PlaceError("said")) == "said"


def test_a_line_is_added_to_no_other_file(folder: Path) -> None:
    append_line(folder / "log", "one")
    append_line(folder / "log", "two")
    assert (folder / "log").read_text() == "one\ntwo\n"
    (folder / "link").symlink_to("../secret")
    os.link(folder.parent / "secret", folder / "hard")
    os.mkfifo(folder / "pipe")
    for name in ("link", "hard", "pipe"):
        with pytest.raises(OSError, match=r"link|another file|No such device"):
            append_line(folder / name, "worse")
    assert (folder.parent / "secret").read_text() == "mine"


def test_a_link_is_replaced_and_a_folder_that_is_one_leads_nowhere(folder: Path) -> None:
    (folder / "it").symlink_to("../secret")
    write_text(folder / "it", "new")
    assert (folder.parent / "secret").read_text() == "mine"
    assert not (folder / "it").is_symlink()
    (folder.parent / "elsewhere").mkdir()
    (folder / "tables").symlink_to("../elsewhere")
    with pytest.raises(PlaceError, match="leads out of"):
        write_whole(folder / "tables" / "a.csv", lambda path: path.write_text("x"), folder)
    assert not list((folder.parent / "elsewhere").iterdir())
    assert inside(folder / "new" / "deep", folder) == folder.resolve() / "new" / "deep"
