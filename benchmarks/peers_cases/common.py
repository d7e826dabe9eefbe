"""What the cases of ``benchmarks/peers.py`` share: data, and how steps are timed. No user would write it."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import torch

BATCH, BATCHES, EPOCHS = 128, 4, 3  # the first epoch warms up, and fills layerlink's store
LINKS = ("group2", "group3", "group4", "group5")


class Enough(Exception):  # noqa: N818
    """All steps are done."""


class Steps:
    """Is told of each step's end and loss."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []
        self.losses: list[float] = []

    def __call__(self, loss: float) -> None:
        """A step is done."""
        self.ends.append((time.time(), time.process_time()))
        self.losses.append(float(loss))
        if len(self.ends) == BATCHES * EPOCHS:
            raise Enough

    def images_per_second(self, clock: int) -> float:
        """Within the epochs after the first, from the end of an epoch's first step on.

        Args:
            clock: 0, that on the wall; 1, that of the process.
        """
        seconds, count = 0.0, 0
        for epoch in range(1, EPOCHS):
            ends = self.ends[epoch * BATCHES : (epoch + 1) * BATCHES]
            seconds, count = seconds + ends[-1][clock] - ends[0][clock], count + len(ends) - 1
        return BATCH * count / seconds


def peak() -> float:
    """Megabytes that the process held at most."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


def network(folder: Path, name: str) -> torch.nn.Module:
    """Teacher or student, with the same weights in every case."""
    from layerlink.models import build_model

    model = build_model({"teacher": "vgg16", "student": "vgg7"}[name], num_classes=10, image_size=32, channels=3)
    model.load_state_dict(torch.load(folder / f"{name}.pt")["model"])
    return model


def dataset(folder: Path) -> torch.utils.data.TensorDataset:
    """The images as float32 (N, 3, 32, 32), normalised, in the order of layerlink's first epoch; and their labels."""
    return torch.utils.data.TensorDataset(*torch.load(folder / "data.pt"))


def run(train: Callable[[Path, Steps, str], None]) -> None:
    """Call the case; print what was measured, as a line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("how", nargs="?", default="")
    arguments = parser.parse_args()
    steps = Steps()
    with contextlib.suppress(Enough):
        train(arguments.folder, steps, arguments.how)
    rates = {"images_per_second": steps.images_per_second(0), "images_per_cpu_second": steps.images_per_second(1)}
    print(json.dumps({**rates, "first": steps.ends[0], "peak": peak(), "losses": steps.losses}))
