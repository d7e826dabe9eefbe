"""A verb, called as the shell does."""

from __future__ import annotations

import pytest

from layerlink.cli.main import run_command_line


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Its exit code, and what it printed on both streams."""
    code = run_command_line(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err
