"""`torchrun -m layerlink` as a user meets it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from group import SETTLED, ends, run_group, start

RECIPE = """\
data: {name: digits, image_size: 32, train_images: 64, validation: 100}
student: {model: vgg7, arguments: {width: 0.05}}
training: {epochs: 1, batch_size: 32, lr: 0.02}
precision: float32
"""
SWEEP = "base: tiny.yaml\nrows: {slow: {training.lr: 0.01}, fast: {}}\n"
LAYERLINK = ["-m", "layerlink"]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    (tmp_path / "both.yaml").write_text(SWEEP)
    monkeypatch.setenv("LAYERLINK_CACHE", str(tmp_path / "cache"))


def wait_for(path: Path, processes: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + SETTLED
    while not path.exists() and time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)


def test_torchrun_trains_and_goes_on_after_ctrl_c(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    torchrun += [*LAYERLINK, "run", "tiny.yaml", "training.epochs=2000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(torchrun, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_for(tmp_path / "runs/tiny-0/checkpoint.pt", [process])
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SETTLED)
    said = [line for line in err.splitlines() if line.startswith("layerlink:")]
    assert len(said) == 1, err
    assert "Nothing is lost: the same command with --resume goes on (runs/tiny-0)" in said[0]
    environment = json.loads((tmp_path / "runs/tiny-0/environment.json").read_text())
    assert environment["processes"] == 2


def test_a_killed_process_ends_the_others_with_a_sentence(tmp_path: Path) -> None:
    group = start([*LAYERLINK, "run", "tiny.yaml", "training.epochs=2000"], 2, tmp_path)
    wait_for(tmp_path / "runs/tiny-0/checkpoint.pt", group)
    group[1].kill()
    (code, _, err), _ = ends(group)
    assert code == 1
    assert "process 0 of 2 lost the others: one of them ended" in err
    assert "the same command with --resume goes on" in err
    assert "Traceback" not in err


def test_a_sweep_of_two_students_and_a_mistake_told_once(tmp_path: Path) -> None:
    (code, out, err), (other_code, *silent) = run_group([*LAYERLINK, "sweep", "both.yaml"], 2, tmp_path)
    assert (code, err, other_code, silent) == (0, "", 0, ["", ""])
    assert out.splitlines()[-1] == "saved runs/both    next: layerlink report runs/both"
    assert re.search(r"^ *1/\d+ +2 ", out, re.MULTILINE)
    assert all((tmp_path / f"runs/both/{name}-0/result.json").exists() for name in ("slow", "fast"))

    (code, out, err), (other_code, *silent) = run_group([*LAYERLINK, "sweep", "bth.yaml"], 2, tmp_path)
    assert (code, out, other_code, silent) == (2, "", 2, ["", ""])
    assert "Did you mean both.yaml" in err


@pytest.mark.parametrize("verb", ["search", "quickstart"])
def test_verbs_that_work_alone_refuse_company(verb: str, tmp_path: Path) -> None:
    (code, _, err), (other_code, *silent) = run_group([*LAYERLINK, verb], 2, tmp_path)
    assert (code, other_code, silent) == (2, 2, ["", ""])
    assert err == f"layerlink: {verb} works in one process; torchrun started 2. run and sweep share theirs\n"
