"""Long: killed at random moments, many runs, nothing grows."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import small_recipes
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.watch import Watch
from layerlink.lab.sweep.file import Plan, load_sweep
from layerlink.lab.sweep.running import run_sweep

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

BASE = small_recipes.recipe(
    "vgg7",
    256,
    100,
    "epochs: 5, batch_size: 32, lr: 0.02, ema: 0.9",
    f"teacher: {{model: vgg16, {small_recipes.NARROW}, store: {{dtype: float32, root: STORE}}}}",
    "soft: {temperature: 2}",
    'links: ["group2 : mse * 2", "group5 : mse, scale=gradient"]',
)
TEACHER = small_recipes.teacher(epochs=2)
SWEEP = """\
base: base.yaml
train_teacher: {recipe: teacher.yaml}
rows: {both: {}, soft: {links: []}, warm: {soft.temperature: 8, data.augment: crop-flip}}
seeds: 2
"""
KILLED = """\
import os, sys, threading
from pathlib import Path
from layerlink.lab.run import member
from layerlink.lab.sweep.file import load_sweep
from layerlink.lab.sweep.running import run_sweep
from layerlink.lab.run.watch import Watch
member.SHARE_OF_TIME = 1e9  # a checkpoint after every epoch: many moments of writing
plan = load_sweep(sys.argv[1], out=Path(sys.argv[2]))
threading.Timer(float(sys.argv[3]), lambda: os.kill(os.getpid(), 9)).start()
run_sweep(plan, command="", watch=Watch())
os._exit(0)
"""
KILLS = 24


def write(folder: Path, store: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in (("base", BASE.replace("STORE", str(store))), ("teacher", TEACHER), ("sweep", SWEEP)):
        (folder / f"{name}.yaml").write_text(text)
    return folder / "sweep.yaml"


def same(first: Path, second: Path) -> bool:
    a, b = (safetensors.torch.load_file(RunFolder(folder).student) for folder in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    straight = load_sweep(str(write(tmp_path / "straight", tmp_path / "store-1")), out=tmp_path / "straight" / "out")
    run_sweep(straight, command="", watch=Watch())
    file, out = write(tmp_path / "killed", tmp_path / "store-2"), tmp_path / "killed" / "out"
    draw, kills = random.Random(20), 0
    while kills < KILLS:
        delay = draw.uniform(0.02, 1.0)
        code = subprocess.run([sys.executable, "-c", KILLED, str(file), str(out), f"{delay}"], check=False).returncode
        if code == 0:  # done before its end came: begin another round
            finished = sorted(path.parent for path in out.glob("*/result.json"))
            assert len(finished) == 7
            for folder in finished:
                assert same(straight.folder / folder.name, folder)
            for path in sorted(out.rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
            continue
        assert code == -9
        kills += 1
    killed = load_sweep(str(file), out=out)
    run_sweep(killed, command="", watch=Watch())
    for first, second in zip(straight.runs, killed.runs, strict=True):
        assert same(first.folder, second.folder), first.folder.name
    assert same(straight.family.teacher_folder, killed.family.teacher_folder)


REPORTED = """\
import os, sys, threading
from pathlib import Path
from layerlink.lab.report.building import write_report
threading.Timer(float(sys.argv[3]), lambda: os.kill(os.getpid(), 9)).start()
write_report([Path(sys.argv[1])], out=Path(sys.argv[2]), measure=0)
os._exit(0)
"""


def test_a_report_that_is_killed_leaves_the_runs_alone_and_is_made_again(tmp_path: Path) -> None:
    file = write(tmp_path / "sweep", tmp_path / "store")
    plan = load_sweep(str(file), out=tmp_path / "sweep" / "out")
    run_sweep(plan, command="", watch=Watch())
    before = {path: path.read_bytes() for path in plan.folder.rglob("*") if path.is_file()}
    draw, kills, out = random.Random(4), 0, tmp_path / "report"

    def report(seconds: float) -> int:
        call = [sys.executable, "-c", REPORTED, str(plan.folder), str(out), f"{seconds}"]
        return subprocess.run(call, check=False).returncode

    while kills < 6:
        kills += report(draw.uniform(0.3, 4)) == -9
    assert report(600) == 0
    again = out.rename(tmp_path / "again")
    assert report(600) == 0
    assert {path.relative_to(again) for path in again.rglob("*")} == {path.relative_to(out) for path in out.rglob("*")}
    assert (again / "report.md").read_text() == (out / "report.md").read_text()
    assert {path: path.read_bytes() for path in plan.folder.rglob("*") if path.is_file()} == before


class Interrupting(Watch):
    """Asks to stop after so many epochs."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def epoch(self, run: RunFolder, row: dict[str, Any]) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGINT)


def resident() -> int:
    """Bytes of memory that the process holds."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]


def test_two_hundred_runs_interrupted_ten_times(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "data: {name: digits, image_size: 32, train_images: 32, validation: 32}\n"
        "student: {model: vgg7, arguments: {width: 0.02}}\n"
        "training: {epochs: 2, batch_size: 16}\nprecision: float32\n"
    )
    rates = [0.001 * (step + 1) for step in range(20)]
    (tmp_path / "sweep.yaml").write_text(f"base: base.yaml\naxes: {{training.lr: {rates}}}\nseeds: 10\n")

    def plan() -> Plan:
        return load_sweep(str(tmp_path / "sweep.yaml"), out=tmp_path / "out")

    files, memory = [], []
    for _ in range(10):
        with pytest.raises(Interrupted):
            run_sweep(plan(), command="", watch=Interrupting(15))
        files.append(len(os.listdir("/proc/self/fd")))
        memory.append(resident())
    outcomes = run_sweep(plan(), command="", watch=Watch())
    assert len(outcomes) == 200
    assert all(outcome.result for outcome in outcomes)
    assert len({outcome.planned.folder for outcome in outcomes}) == 200
    assert files[-1] <= files[1]
    assert resident() <= 1.1 * memory[1], f"{memory} -> {resident()}"
