"""What the pages show is run: Python from top to bottom, commands in one folder a page, recipes read.

A comment before a block says what is added for the test: ``<!-- with: training.epochs=1 -->`` to every command of the
block; ``<!-- long with: ... -->``: in ``make test-long`` alone, with CIFAR-10 at ``~/cifar10``;
``<!-- shown: WHY -->``: not run here. A comment that begins with ``python`` holds what the page takes for granted.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from layerlink.cli.main import run_command_line
from layerlink.config.text import parse_yaml
from layerlink.lab.recipe.file import dump_recipe, load_recipe
from layerlink.lab.sweep.file import load_sweep
from layerlink.optional import torch_release

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_HIDDEN = re.compile(r"^<!-- python\n(?P<text>.*?)^-->$", re.M | re.S)
_BLOCK = re.compile(r"(?:<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.M | re.S)
TAKE_FIELDS = ("run", "check", "sweep", "search", "propose", "bench", "shrink")  # verbs that take key=value


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    line: int
    language: str
    text: str
    note: str

    @property
    def is_long(self) -> bool:
        """Whether it takes minutes."""
        return self.note.startswith("long")

    @property
    def added(self) -> list[str]:
        """What the test adds to its commands."""
        words = self.note.removeprefix("long").strip()
        return shlex.split(words.removeprefix("with:")) if words.startswith("with:") else []


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("text")) + 1
        yield Block(line, found["language"], found["text"], found["note"] or "")


def commands(block: Block) -> Iterator[str]:
    for line in block.text.replace("\\\n", " ").splitlines():
        line = line.partition("  #")[0].strip()
        if line and not line.startswith("#"):
            yield line


def run_block(page: Path, block: Block, names: dict[str, Any]) -> None:
    where = f"{page.name}, line {block.line}"
    if block.language == "python":
        padded = "\n" * (block.line - 1) + block.text  # a traceback names the page's own line
        exec(compile(padded, str(page), "exec"), names)
    elif block.language == "sh":
        for command in commands(block):
            words = shlex.split(command)
            assert words[0] == "layerlink", f"{where}: {command!r} is no command of layerlink"
            words = [*words[1:], *(block.added if words[1] in TAKE_FIELDS else [])]
            assert run_command_line(words) == 0, f"{where}: {command}"
    elif block.language == "yaml":
        read_yaml(block, where)


def read_yaml(block: Block, where: str) -> None:
    """A whole recipe or sweep is read; of a part of a recipe what it needs beside it is filled in."""
    tree = parse_yaml(block.text, where)
    assert isinstance(tree, dict), where
    if "base" in tree:
        Path("page.yaml").write_text(block.text)
        load_sweep("page.yaml")
        return
    text = block.text
    if "student" not in tree:
        text += "\nstudent: vgg7\n"
    if {"soft", "links"} & tree.keys() and not {"teacher", "teachers", "peers"} & tree.keys():
        text += "\nteacher: vgg16\n"
    assert dump_recipe(load_recipe(where, text=text).recipe)


def of_page(page: Path) -> list[Block]:
    """The blocks that can be run, in order: they build on each other."""
    return [block for block in blocks(page) if block.language in ("python", "sh", "yaml")]


@pytest.mark.parametrize("page", [page for page in PAGES if of_page(page)], ids=lambda page: page.stem)
def test_what_a_page_shows_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_page(page, tmp_path, monkeypatch, long=False)


LONG = [page for page in PAGES if any(block.is_long for block in of_page(page))]


@pytest.mark.long
@pytest.mark.parametrize("page", LONG, ids=lambda page: page.stem)
def test_what_a_page_shows_runs_with_what_takes_minutes(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cifar = ROOT.parent / "shared" / "data" / "cifar10"
    if not cifar.is_dir():
        pytest.skip("CIFAR-10 is not in ../shared/data")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cifar10").symlink_to(cifar)
    run_page(page, tmp_path, monkeypatch, long=True)


def run_page(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, long: bool) -> None:
    if torch_release() < (2, 7) and "--to onnx" in page.read_text(encoding="utf-8"):
        pytest.skip("torch before 2.7 writes no ONNX with today's onnxscript")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    names: dict[str, Any] = {"__name__": page.stem}
    for hidden in _HIDDEN.finditer(page.read_text(encoding="utf-8")):
        exec(hidden["text"], names)
    for block in of_page(page):
        if not block.note.startswith("shown") and (long or not block.is_long):
            run_block(page, block, names)


def test_every_block_says_what_it_is() -> None:
    """Only output and trees of folders have no language."""
    for page in PAGES:
        for block in blocks(page):
            assert block.language in ("python", "sh", "yaml", "text", ""), f"{page.name}, line {block.line}"
            if not block.language:
                assert "layerlink " not in block.text or "$ layerlink" in block.text, f"{page.name}, line {block.line}"


@pytest.mark.long
@pytest.mark.parametrize("notebook", sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_and_says_what_it_said(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), str(notebook), "exec"), names)
            lines = [line for output in cell["outputs"] for line in output["text"]]
            assert len(capsys.readouterr().out.splitlines()) == len(lines)
            assert len(lines) > 0 or "print" not in "".join(cell["source"])
