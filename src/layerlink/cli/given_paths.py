"""Paths among the words of a command."""

from __future__ import annotations

from pathlib import Path

import typer

from layerlink.files.paths import expanded
from layerlink.printable import in_a_shell


def given_path(text: str) -> Path:
    """The path that is meant, with the home folder in place of ``~``, which no shell puts into ``--out=~/x``.

    Raises:
        BadParameter: where it is empty, as ``--out "$FOLDER"`` is of a variable that is not set: the working folder is
            not what is meant by it.
    """
    if not str(text):
        raise typer.BadParameter("it is empty; name a file or folder (. is the one where you are)")
    return expanded(Path(text))


def new_file(text: str) -> Path:
    """As ``given_path``, of a file to be written.

    Raises:
        BadParameter: where it is a folder, too: told before the work, not after it.
    """
    path = given_path(text)
    if path.is_dir():
        raise typer.BadParameter(f"{in_a_shell(path)} is a folder; name a file in it")
    return path


given_path.__name__ = new_file.__name__ = "path"  # what typer shows in the help in its place
