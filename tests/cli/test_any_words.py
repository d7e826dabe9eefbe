"""The command line with any words: 0, 1 or 2, and a sentence; never a fault of layerlink. Nothing is trained."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import layerlink.cli
import layerlink.lab
from cases import cases
from layerlink.cli.main import run_command_line
from layerlink.errors import LayerlinkError, UsageError
from layerlink.lab.run.setup.setup import set_up
from layerlink.lab.search.running import run_search
from layerlink.lab.sweep.expected import expected_costs
from layerlink.lab.sweep.running import run_sweep

VERBS = ["run", "evaluate", "check", "layers", "ls", "sweep", "search", "report", "quickstart"]
VERBS += ["export", "predict", "card", "push", "verify", "replay", "propose", "shrink"]
OPTIONS = [
    "--out",
    "--resume",
    "--help",
    "--seed",
    "--dry-run",
    "--no-measure",
    "--measure",
    "--image-size",
    "--classes",
]
OPTIONS += ["--debug", "--data", "--channels", "-x", "--", "-", "--out=", "--version"]
WORDS = [
    "tiny.yaml",
    "wrong.yaml",
    "sweep.yaml",
    "study/vgg16",
    "digits/teacher",
    ".",
    "nowhere",
    "/dev/null",
    "",
    "~nobody/x",
]
WORDS += [
    "training.epochs=0",
    "seed=x",
    "training.²=3",
    "a=[",
    "x=!!int ''",
    "=",
    "links.0=a : mse",
    "data.root=~nobody/x",
]
WORDS += [
    "vgg7",
    "vgg16",
    "torch.nn:Linear",
    "a..b:c",
    ":",
    "no.such:thing",
    "width=0.05",
    "width=-1",
    "batch_norm=[1]",
]
WORDS += ["1", "-1", "0", "99999999999999999999", "1e9", "NaN", "é", "\ud800", "\0", "x" * 5000, "a\nb", "[bold]", "%s"]


@pytest.fixture(scope="module")
def everything() -> dict[str, ModuleType]:
    """All that layerlink imports anywhere: what were imported later would take over, and keep, what is put in place."""
    for package in (layerlink.cli, layerlink.lab):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            with suppress(ImportError, LayerlinkError):  # a package that is not there
                importlib.import_module(found.name)
    return {name: it for name, it in sys.modules.items() if name.partition(".")[0] == "layerlink"}


@pytest.fixture(autouse=True)
def _where_nothing_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: dict[str, ModuleType]
) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise UsageError("the test trains nothing")

    for name, module in everything.items():
        for word, value in list(vars(module).items()):
            if any(value is it for it in (set_up, run_sweep, expected_costs, run_search)):
                monkeypatch.setattr(f"{name}.{word}", refused)
    (tmp_path / "tiny.yaml").write_text("student: vgg7\n")
    (tmp_path / "wrong.yaml").write_text("student: [\n")
    (tmp_path / "sweep.yaml").write_text("base: tiny.yaml\nrows: {a: {}}\nspace: {hard: [1]}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAYERLINK_CACHE", str(tmp_path / "cache"))


def told(code: int, err: str) -> None:
    assert code in (0, 1, 2), err
    assert "fault of layerlink" not in err, err
    assert "It came up" not in err, err
    assert "Traceback" not in err
    assert err.strip() or code == 0


@given(
    verb=st.sampled_from(VERBS),
    words=st.lists(st.sampled_from([*WORDS, *OPTIONS]) | st.text(max_size=8), max_size=4),
)
@cases(1)
def test_any_words_are_done_or_told(verb: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in words if word != "--debug"]
    capsys.readouterr()
    code = run_command_line([verb, *words])
    told(code, capsys.readouterr().err)


@given(words=st.lists(st.sampled_from([*VERBS, *WORDS, *OPTIONS]) | st.text(max_size=8), max_size=3))
@cases(0.5)
def test_any_words_in_place_of_a_verb_are_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in words if word != "--debug"]
    capsys.readouterr()
    code = run_command_line(words)
    told(code, capsys.readouterr().err if words else "help")
