from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from layerlink.files.locks import held
from layerlink.files.whole_folder import PREFIX, SUFFIX, UnfinishedFolder


def test_an_unfinished_folder_lies_beside_its_place_under_a_name_that_tells_what_it_is(tmp_path: Path) -> None:
    folder = UnfinishedFolder(tmp_path / "deep" / "down" / "store")
    (path,) = (tmp_path / "deep" / "down").iterdir()
    assert path == folder.path
    assert path.name.startswith(PREFIX)
    assert path.name.endswith(SUFFIX)
    folder.move_to_its_place()
    assert stat.S_IMODE((tmp_path / "deep" / "down" / "store").stat().st_mode) == 0o755
    folder.remove()
    folder.remove()  # a second time is no error


def test_no_handle_stays_open(tmp_path: Path) -> None:
    open_before = len(os.listdir("/dev/fd"))
    (tmp_path / f"{PREFIX}dead{SUFFIX}").mkdir()
    folder = UnfinishedFolder(tmp_path / "store")
    assert list(tmp_path.iterdir()) == [folder.path]
    folder.move_to_its_place()
    folder.remove()
    assert len(os.listdir("/dev/fd")) == open_before


def test_where_a_place_is_held_others_wait(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from layerlink.files.whole_folder import UnfinishedFolder\n"
    code += "UnfinishedFolder(Path(sys.argv[1])); print('made', flush=True)"
    with held(tmp_path):
        command = [sys.executable, "-c", code, str(tmp_path / "store")]
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=1)
        assert not list(tmp_path.iterdir())
    assert other.communicate(timeout=60)[0] == "made\n"


def test_a_system_that_cannot_flush_folders_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_handle: int) -> None:
        raise OSError(22, "Invalid argument")

    folder = UnfinishedFolder(tmp_path / "store")
    monkeypatch.setattr(os, "fsync", refuse)
    folder.move_to_its_place()
    folder.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
