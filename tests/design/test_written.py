from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import pytest

import layerlink as ll
from layerlink.design.written import Written, checksum, file_checksum


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("ä\r\n".encode())
    assert checksum("ä\r\n") == file_checksum(tmp_path / "a") == zlib.crc32(b"\xc3\xa4\r\n")
    written = Written(tmp_path / "data.json", "shrink")
    written.data.write_text(json.dumps({"written": {"a": zlib.crc32(b"\xc3\xa4\r\n")}}))
    written.check(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").write_bytes("ä\n".encode())
    with pytest.raises(ll.UsageError, match="a was changed since shrink wrote it"):
        written.check(tmp_path / "a")


@pytest.mark.parametrize("kind", ["pipe", "dangling link", "folder"])
def test_what_is_no_file_is_never_replaced_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path, written = tmp_path / "a", Written(tmp_path / "data.json", "export")
    {"pipe": os.mkfifo, "dangling link": lambda it: it.symlink_to("nowhere"), "folder": os.mkdir}[kind](path)
    with pytest.raises(ll.UsageError, match="a is there and export did not write it"):
        written.check(path)
    written.data.write_text('{"written": {"a": 0}}')
    with pytest.raises(ll.UsageError, match="a was changed since export wrote it"):
        written.check(path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"written": 3}'])
def test_a_damaged_note_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.json").write_text(text)
    assert Written(tmp_path / "data.json", "propose").checksums() == {}


@pytest.mark.parametrize("inside", ["", "x", "x/y"])
def test_a_file_in_the_folders_place_is_told_before_the_work(tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ll.UsageError, match="file is a file, and shrink needs a folder"):
        Written(tmp_path / "file" / inside / "shrink.json", "shrink").check(tmp_path / "file" / inside / "a.py")
