"""Places that hold GGUF files: which is meant, and what is missing."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.hub import options_of


@pytest.fixture(autouse=True)
def _there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", importlib.import_module("types"))


def test_a_folder_with_one_or_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    for place in (tmp_path, tmp_path / "model.gguf"):
        where, options = options_of(str(place))
        assert where == str(tmp_path)
        assert options == {"local_files_only": True, "trust_remote_code": False, "gguf_file": "model.gguf"}


def test_a_folder_of_the_hub_is_read_as_that(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "config.json").write_text("{}")
    assert "gguf_file" not in options_of(str(tmp_path))[1]
    assert "gguf_file" not in options_of("somebody/model.gguf")[1]


def test_several_files_are_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.gguf").write_bytes(b"GGUF")
    with pytest.raises(UsageError, match=r"holds 2 GGUF files, a.gguf, b.gguf: name one, hf:.*/a.gguf"):
        options_of(str(tmp_path))


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(LayerlinkError, match=r"needs the package 'gguf'.*pip install 'layerlink\[gguf\]'"):
        options_of(str(tmp_path))
