from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from layerlink.errors import LayerlinkError, UsageError
from layerlink.files.whole import write_whole
from layerlink.lab.run.folder import alone_in


def old(path: Path, seconds: float) -> Path:
    path.write_text("half")
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_a_file_is_as_before_where_writing_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_whole(path, lambda place: place.write_text("first"))
    assert path.stat().st_mode & 0o777 == 0o644

    def fail(place: Path) -> None:
        place.write_text("sec")
        raise OSError(28, "No space left on device")

    with pytest.raises(LayerlinkError, match=r"cannot write .*result\.json: .*No space left.* is unchanged"):
        write_whole(path, fail)
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]
    assert path.read_text() == "first"


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left = old(tmp_path / ".a[1].pt.x1.part", 60)
    young = old(tmp_path / ".a[1].pt.x2.part", 1)
    other = old(tmp_path / ".b.pt.x3.part", 60)
    held = old(tmp_path / ".a[1].pt.x4.part", 60)
    with held.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_whole(tmp_path / "a[1].pt", lambda place: place.write_text("whole"))
    assert not left.exists()
    assert young.exists()
    assert other.exists()
    assert held.exists()
    assert (tmp_path / "a[1].pt").read_text() == "whole"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_whole(path, lambda place: place.write_text("first"))

    def refuse(**_arguments: object) -> None:
        raise OSError(30, "Read-only file system", str(tmp_path))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(LayerlinkError, match=r"cannot write .*result\.json: .*Read-only file system.* another folder"):
        write_whole(path, lambda place: place.write_text("second"))
    assert path.read_text() == "first"


def test_a_run_in_a_place_where_nothing_can_be_made_is_refused() -> None:
    with (
        pytest.raises(UsageError, match=r"cannot make the run's folder: .* Choose another: --out FOLDER"),
        alone_in(Path("/proc/self/none/run")),
    ):
        pass
