"""What is measured on a GPU runs on a CPU, small, and goes on where it was stopped."""

from __future__ import annotations

import os
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
    (row,) = (tmp_path / "dry-run").glob("*.json")
    written = row.stat().st_mtime_ns
    second = run("gpu.py", *words)
    assert second.stdout.splitlines()[-5:] == first.stdout.splitlines()[-5:]
    assert "| resnet | 32 | 2 | bfloat16 |" in second.stdout
    assert row.stat().st_mtime_ns == written


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
