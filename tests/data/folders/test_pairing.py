"""Lists of names: what other programs write."""

from __future__ import annotations

from pathlib import Path

from layerlink.data.folders.pairing import listed


def test_a_list_with_a_mark_of_its_letters_and_one_of_other_letters(tmp_path: Path) -> None:
    images = {"café": tmp_path / "café.png", "b": tmp_path / "b.png"}
    file, problems = tmp_path / "train.txt", list[str]()
    file.write_bytes("café\r\nb\r\n".encode("utf-8-sig"))  # as Windows' Notepad
    assert listed(file, images, problems) == ["café", "b"]
    assert problems == []
    for letters in ("latin-1", "utf-16"):
        file.write_bytes("café\nb\n".encode(letters))
        assert listed(file, images, problems) == []
        assert f"{file}: expected names in UTF-8, one a line" in problems.pop()
