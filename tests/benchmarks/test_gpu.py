"""What is measured on a GPU runs on a CPU, small, and goes on where it was stopped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(map(str, (ROOT / "src", ROOT / "benchmarks")))
    command = [sys.executable, str(ROOT / "benchmarks" / script), *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, check=False)


@pytest.mark.long
def test_a_dry_run_measures_each_row_once(tmp_path: Path) -> None:
    words = ("--dry-run", "--out", str(tmp_path), "--pairs", "resnet")
    stopped = run("gpu.py", *words, "--seconds", "-1")
    assert stopped.returncode == 3, stopped.stderr
    assert "the same command goes on" in stopped.stdout
    first = run("gpu.py", *words)
    assert first.returncode == 0, first.stderr
    rows = list((tmp_path / "dry-run").glob("*.json"))
    assert sorted(row.stem.rpartition("-")[2] for row in rows) == ["compiled", "eager"]
    written = [row.stat().st_mtime_ns for row in rows]
    second = run("gpu.py", *words)
    assert second.stdout.splitlines()[-6:] == first.stdout.splitlines()[-6:]
    assert "| resnet | 32 | 2 | bfloat16 | compiled |" in second.stdout
    assert [row.stat().st_mtime_ns for row in rows] == written


@pytest.mark.long
def test_idle_time_is_what_no_kernel_covers() -> None:
    code = "import gpu; print(gpu.idle_share([(0, 2), (1, 3), (7, 10)]), gpu.idle_share([(0, 5), (1, 2)]))"
    paths = os.pathsep.join(map(str, (ROOT / "src", ROOT / "benchmarks")))
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
    )
    assert told.stdout.split() == ["0.4", "0.0"]


def test_a_folder_goes_in_pieces_and_is_whole_again_when_all_have_come(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "data").mkdir(parents=True)
    contents = {"a.bin": os.urandom(700), "b.bin": os.urandom(900), "a.b.bin": b"", "c-a.bin": os.urandom(5)}
    for name, content in contents.items():
        (here / "data" / name).write_bytes(content)
    cut = run("pieces.py", "cut", str(here / "data"), str(here / "pieces"), "--most", "0.0006")
    assert cut.returncode == 0, cut.stderr
    pieces = sorted((here / "pieces").iterdir())
    assert [path.name for path in pieces] == ["1", "2", "3"]
    assert all(sum(it.stat().st_size for it in path.glob("0*")) <= 600 for path in pieces)

    def joined() -> subprocess.CompletedProcess[str]:
        return run("pieces.py", "join", str(there / "pieces"), str(there / "data"))

    assert (joined().returncode, (there / "data").exists()) == (3, False)
    for number in ("2", "1"):  # in any order, each in a call of its own
        shutil.copytree(here / "pieces" / number, there / "pieces" / number)
        told = joined()
        assert told.returncode == 3
    assert "2 of 3 pieces are here. Next: " in told.stdout
    assert told.stdout.strip().endswith("pieces/3")
    shutil.copytree(here / "pieces" / "3", there / "pieces" / "3")
    damaged = next(path for path in (there / "pieces" / "3").glob("0*b.bin"))
    good = damaged.read_bytes()
    damaged.write_bytes(bytes(len(good)))
    told = joined()
    assert (told.returncode, "b.bin is not what was cut" in told.stderr) == (1, True)
    assert not (there / "data").exists()
    damaged.write_bytes(good)
    assert joined().returncode == 0
    assert {path.name: path.read_bytes() for path in (there / "data").iterdir()} == contents
    shutil.rmtree(there / "pieces")
    assert joined().returncode == 0  # it is there


@pytest.mark.long
def test_the_study_begins_when_its_data_has_come_in_two_calls(shared: Path, tmp_path: Path) -> None:
    """Two folders play the two machines: what one call brings stays there for the next."""
    here, there = tmp_path / "here", tmp_path / "there"
    assert run("pieces.py", "cut", str(shared / "data" / "cifar10"), str(here)).returncode == 0
    assert [path.name for path in sorted(here.iterdir())] == ["1", "2"]
    given = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "LAYERLINK": f"{sys.executable} -m layerlink",
        "PYTHON": sys.executable,
        "PIECES": str(there / "pieces"),
        "DATA": str(there / "data"),
        "OUT": str(there / "study"),
        "SECONDS_MAX": "8",
    }
    command = ["bash", str(ROOT / "benchmarks" / "study_gpu.sh"), "--dry-run"]
    for number, told in (("1", "Next: "), ("2", "the same command goes on")):
        shutil.copytree(here / number, there / "pieces" / number)
        call = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
        assert (call.returncode, told in call.stdout) == (3, True), call.stderr
        assert (there / "data").exists() == (number == "2")


@pytest.mark.long
@pytest.mark.parametrize(
    ("sweep", "extra", "runs"),
    [
        ("study/tables-224", "", 18),  # the teacher, labels alone, the 16 rows
        ("study/strong-teacher", "data.validation=64 seeds=1", 9),
    ],
)
def test_the_study_s_dry_run_is_stopped_and_goes_on_to_its_table(
    sweep: str, extra: str, runs: int, shared: Path, tmp_path: Path
) -> None:
    given = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "LAYERLINK": f"{sys.executable} -m layerlink",
        "DATA": str(shared / "data" / "cifar10"),
        "OUT": str(tmp_path / "study"),
        "SWEEP": sweep,
        "EXTRA": extra,
    }
    command = ["bash", str(ROOT / "benchmarks" / "study_gpu.sh"), "--dry-run"]
    stopped = subprocess.run(command, env={**given, "SECONDS_MAX": "5"}, capture_output=True, text=True, check=False)
    assert stopped.returncode == 3, stopped.stderr
    assert "the same command goes on" in stopped.stdout
    whole = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stderr
    assert len(list((tmp_path / "study").glob("*/result.json"))) == runs
    wrong = subprocess.run([*command[:2], "--dry"], env=given, capture_output=True, text=True, check=False)
    assert (wrong.returncode, "is no option of this script" in wrong.stderr) == (2, True)
