"""Paths among the words of a command: an empty one is a slip, and ~ is the home folder wherever it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from layerlink.cli.given_paths import given_path, new_file
from layerlink.cli.main import run_command_line


def test_home_is_put_in_and_everything_else_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/of/me")
    assert given_path("~/x") == Path("/of/me/x")
    assert given_path("a b%'~") == Path("a b%'~")


def test_a_file_to_write_is_no_folder(tmp_path: Path) -> None:
    assert new_file(str(tmp_path / "x")) == tmp_path / "x"
    with pytest.raises(typer.BadParameter, match="is a folder; name a file in it"):
        new_file(str(tmp_path))


@pytest.mark.parametrize(
    "words",
    [
        ["run", "digits/hard", "--out="],
        ["sweep", "digits/quickstart", "--out", ""],
        ["search", "study/weights", "--out", ""],
        ["quickstart", "--out", ""],
        ["report", ""],
        ["report", ".", "--data", ""],
        ["export", ".", "--out", ""],
        ["predict", "", "."],
        ["predict", ".", ""],
        ["card", ".", "--out", ""],
        ["push", "", "./x"],
        ["evaluate", ""],
        ["verify", ""],
        ["replay", ""],
        ["propose", "vgg16", "vgg7", "--out", ""],
        ["shrink", "vgg16", "--out", ""],
    ],
)
def test_an_empty_path_is_told_and_nothing_is_written(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command_line(words) == 2
    assert "it is empty; name a file or folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
