"""What ``same_bits.py`` trains, and how: small recipes on the digits, with the code of one checkout or another."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

DATA = "data: {name: digits, image_size: 32, train_images: 256, validation: 100, augment: crop, crop_padding: 1}\n"
TEACHER = "teacher: {model: vgg16, arguments: {width: 0.05, batch_norm: true}}\n"
STUDENT = "student: {model: vgg7, arguments: {width: 0.05, batch_norm: true}}\n"
TRAINING = "training: {epochs: 3, batch_size: 32, lr: 0.02}\nprecision: float32\ndevice: cpu\n"
LINKS = 'soft: {temperature: 2, weight: 2}\nlinks: ["group2 : mse * 2", "group3.1 -> group3 : mse", "hidden : mse"]\n'
SCALES = [
    "group2 : mse, scale=teacher, decay=linear",
    "group3 : mse * 0.5, scale=gradient",
    "group4 : mse, scale=teacher, until=1.5",
    "group5 : mse, until=2, decay=linear",
]
FILES = {
    "alone.yaml": DATA + TEACHER.replace("teacher", "student") + TRAINING,
    "student.yaml": DATA + STUDENT + TRAINING,
    "links.yaml": DATA + TEACHER + STUDENT + LINKS + TRAINING,
    "scales.yaml": DATA + TEACHER + STUDENT + f"links: {json.dumps(SCALES)}\n" + TRAINING,
    "own.yaml": DATA.replace("256", "1200").replace("crop,", "crop-flip,")
    + TEACHER
    + 'student: {model: "own.models:with_dropout", arguments: {rate: 0.2}}\n'
    + 'soft: {temperature: 3}\nlinks: ["hidden : mse, scale=gradient"]\n'
    + TRAINING.replace("lr: 0.02", "lr: 0.01, optimizer: adamw, ema: 0.9, clip_norm: 5, schedule: cosine"),
    "cohort.yaml": """\
base: links.yaml
train_teacher: {recipe: alone.yaml, set: {training.epochs: 2}}
baselines: {labels only: {soft: null, links: []}}
rows:
  soft: {links: [], soft.temperature: 4}
  links: {}
  faster: {training.lr: 0.05, training.epochs: 2, link_scale: teacher}
seeds: 2
""",
    "own/models.py": """\
from torch import nn


class Small(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Dropout(rate), nn.MaxPool2d(3))
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(200, 205), nn.ReLU())
        self.output = nn.Sequential(nn.Dropout(rate), nn.Linear(205, 10))

    def forward(self, images):
        return self.output(self.hidden(self.first(images)))


def with_dropout(rate):
    return Small(rate)
""",
}
TAUGHT = "teacher.weights=runs/teacher"
STORES = {"float32": ("float32", "none"), "uint8": ("uint8", "none"), "views": ("float32", "crop-flip")}
CAREFUL = [
    "ema=0.9",
    "clip_norm=1",
    "label_smoothing=0.1",
    "optimizer=adamw",
    "weight_decay=0.01",
    "schedule=one-cycle",
]
RUNS = {  # name of a run: its recipe and overrides
    "alone": ["alone.yaml"],
    "links": ["links.yaml", TAUGHT],
    "scales": ["scales.yaml", TAUGHT],
    "careful": ["student.yaml", *(f"training.{field}" for field in CAREFUL)],
    "own": ["own.yaml", TAUGHT],
    "two": ["links.yaml", TAUGHT],
}
for _name, (_dtype, _augment) in STORES.items():
    _store = [f"teacher.store.root=stored-{_name}", f"teacher.store.dtype={_dtype}"]
    RUNS[f"stored-{_name}"] = ["links.yaml", TAUGHT, *_store, f"data.augment={_augment}"]
PATIENCE = 300  # seconds that one command may take


class Refused(Exception):  # noqa: N818 - it may be right
    """The command line said no, in a sentence."""


class Failed(Exception):  # noqa: N818 - of a case, not of this script
    """A command did not do what the case needs."""


@dataclass(frozen=True)
class Checkout:
    """One of the two, with a folder of its own to work in.

    Args:
        name: as shown.
        root: holds ``src/layerlink``.
        folder: recipes and runs.
    """

    name: str
    root: Path
    folder: Path

    def start(self, *words: str, processes: int = 1, cwd: Path | None = None) -> subprocess.Popen[str]:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        return subprocess.Popen(
            [sys.executable, *(torchrun if processes > 1 else []), "-m", "layerlink", *words],
            cwd=cwd or self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(self.root / "src"),
                "OMP_NUM_THREADS": "1",
                "LAYERLINK_CACHE": str(self.folder / "cache"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def layerlink(self, *words: str, processes: int = 1, cwd: Path | None = None) -> str:
        """What the command prints. ``Refused`` or ``Failed`` where it does not end well."""
        with self.start(*words, processes=processes, cwd=cwd) as process:
            out, err = ended(process)
        if process.returncode == 0:
            return out
        said = [line for line in err.splitlines() if line.strip()] or ["nothing on stderr"]
        sentence = "Traceback" not in err and "fault of layerlink" not in err and said[0].startswith("layerlink: ")
        text = (
            f"{self.name}: {' '.join(words[:2])} ended with {process.returncode}: {said[0] if sentence else said[-1]}"
        )
        raise (Refused if sentence else Failed)(text)

    def run(self, name: str) -> Path:
        return self.folder / "runs" / name

    def trained(self, name: str, recipe: str = "", processes: int = 1) -> Path:
        """The folder of a run that is finished; it is trained where it is not there yet."""
        if not (self.run(name) / "result.json").exists():
            self.layerlink("run", *RUNS[recipe or name], "--out", f"runs/{name}", processes=processes)
        return self.run(name)

    def swept(self) -> Path:
        """The folder of the sweep; what is finished is not trained again."""
        self.layerlink("sweep", "cohort.yaml", "--out", "runs/cohort")
        return self.run("cohort")

    def stopped(self) -> Path:
        """The folder of a run of ``own`` that Ctrl-C ended within an epoch that is not the first."""
        for _ in range(0 if self.run("stopped").exists() else 5):
            with self.start("run", *RUNS["own"], "--out", "runs/stopped") as process:
                first_row, deadline = self.run("stopped") / "metrics.csv", time.monotonic() + PATIENCE
                while not first_row.exists() and process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.002)
                process.send_signal(signal.SIGINT)
                _, err = ended(process)
            if re.search(r"stopped in epoch \d+ after [1-9]\d* steps", err):
                break
            shutil.rmtree(self.run("stopped"), ignore_errors=True)  # too late, or just between two epochs
        if not self.run("stopped").exists():
            raise Failed(f"{self.name}: Ctrl-C did not stop the run within an epoch: {err.strip()[-200:]}")
        return self.run("stopped")

    def resumed(self, stopped: Path, name: str) -> Path:
        """The folder of a copy of the stopped run, gone on with to its end."""
        shutil.copytree(stopped, self.run(name))
        self.layerlink("run", *RUNS["own"], "--out", f"runs/{name}", "--resume")
        return self.run(name)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """All that the process prints until its end."""
    try:
        return process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.terminate()
        raise Failed(f"a command took longer than {PATIENCE} s") from None


def checkout(name: str, root: Path, place: Path) -> Checkout:
    """A checkout with its recipes written."""
    if not (root / "src" / "layerlink" / "__init__.py").is_file():  # what is installed would be taken in its place
        raise SystemExit(f"{root} holds no src/layerlink")
    for file, text in FILES.items():
        path = place / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Checkout(name, root.resolve(), place / name)
