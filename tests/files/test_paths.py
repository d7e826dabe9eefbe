from __future__ import annotations

from pathlib import Path

import pytest

from layerlink.files.paths import expanded, why_impossible


def test_home_is_put_in_and_an_unknown_one_left_to_be_told_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded(Path("~/x")) == Path("/home/me/x")
    assert expanded(Path("~nobody-at-all/x")) == Path("~nobody-at-all/x")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("runs/vgg16-0", ""),
        ("x" * 255, ""),
        ("é" * 128, "a name of 256 bytes is too long for a file; at most 255"),
        ("a\0b", "no file's name holds the character NUL"),
        ("\ud800", "no file's name holds half a character"),
    ],
)
def test_what_no_file_can_be_called(path: str, why: str) -> None:
    assert why_impossible(Path(path)) == why
