"""Whose fault an unforeseen error is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from layerlink import user_code
from layerlink.data.views import Views
from layerlink.errors import UsageError
from layerlink.lab.run.failures import StudentError, failing_alone
from layerlink.taps.modules import call_model
from layerlink.user_code import named, whose


class Broken(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("the matrix is singular")


def wrong_shape() -> Any:
    return call_model(nn.Linear(3, 2), torch.zeros(1, 4))  # comes up in torch, below a model


def own_code() -> Any:
    return call_model(Broken(), torch.zeros(1))


def wrong_use_of_torch() -> Any:
    return Views(8, "no", "numbers")(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        (wrong_shape, "It came up below layerlink, in a model or a library."),
        (own_code, "It came up in your own code: "),
        (wrong_use_of_torch, "This is a fault of layerlink."),
    ],
)
def test_the_blame_is_where_the_error_came_up(
    fails: Callable[[], Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fails is not own_code:  # this file is a user's own code, too
        monkeypatch.setattr("layerlink.user_code._OTHERS", (*user_code._OTHERS, __file__))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any
        fails()
    assert whose(caught.value).startswith(expected)
    with pytest.raises(StudentError) as told, failing_alone("epoch 1, step 2"):
        fails()
    assert str(told.value).startswith(f"epoch 1, step 2: {type(caught.value).__name__}: {caught.value}")
    place = whose(caught.value).removeprefix("It came up in your own code: ").rstrip(".") if fails is own_code else ""
    assert str(told.value).endswith(f" ({place})" if place else f". {expected}")


def test_a_file_of_the_working_folder_takes_the_place_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("colorsys", "own_code_of_a_test"):  # a module of Python that nothing here has loaded, and one's own
        (tmp_path / f"{name}.py").write_text("def rgb_to_hsv(): pass\ndef mine(): pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert user_code.found_at("own_code_of_a_test:mine") == str(tmp_path / "own_code_of_a_test.py")
    assert "own_code_of_a_test" not in sys.modules  # found, and not run
    named("own_code_of_a_test:mine", "model")
    assert user_code.is_installed(user_code.found_at("colorsys:rgb_to_hsv"))
    assert named("colorsys:rgb_to_hsv", "model").__module__ == "colorsys"
    with pytest.raises(UsageError, match="This is the installed colorsys, not the one in this folder"):
        named("colorsys:mine", "model")
    assert user_code.found_at("sys:exit") == "built in"
    assert user_code.found_at("nowhere_at_all:x") == ""
    monkeypatch.delitem(sys.modules, "own_code_of_a_test")


@pytest.mark.parametrize(
    "start",
    [["-m", "layerlink"], ["-c", "import sys; sys.argv = ['x', 'ls']; import layerlink.__main__ as m; m.main()"]],
)
def test_the_command_line_is_not_led_astray_by_the_working_folder(start: list[str], tmp_path: Path) -> None:
    for name in ("torch", "ruamel", "pydantic", "typer", "rich"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('led astray')")
    if start[0] == "-c" and sys.version_info < (3, 11):
        pytest.skip("Python has no -P before 3.11")
    safe = [] if start[0] == "-m" else ["-P"]
    words = [sys.executable, *safe, *start, *(["ls"] if start[0] == "-m" else [])]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
