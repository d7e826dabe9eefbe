"""What the processes of a group do in tests: ``python group_jobs.py JOBS.json``. Alone, it is the reference."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layerlink.cli.process.together import leave
from layerlink.errors import LayerlinkError
from layerlink.lab.parallel.data_parallel import LOOKS
from layerlink.lab.parallel.processes import here, joined
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.interruption import Interrupted
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.training import train_cohort
from layerlink.lab.run.watch import Watch
from layerlink.models import build_model


class Double(nn.Module):
    """Computes in float64, so that what is wrong shows beside the rounding."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.net = build_model(name, num_classes=10, image_size=32, channels=1, width=0.05, batch_norm=True).double()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images.double())


class Skipping(Double):
    """Leaves its last layer out in half of the steps, each process in others."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.extra = nn.Linear(10, 10).double()

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits if self.training and torch.rand(()) < 0.5 else self.extra(logits)


class Breaking(Double):
    """Gives NaN in one of the processes, from the second step on."""

    steps = 0

    def forward(self, images: Tensor) -> Tensor:
        self.steps += self.training and torch.is_grad_enabled()
        broken = self.steps > 1 + LOOKS and here().rank == 1  # passes that look for parameters that are not used
        return super().forward(images) * (float("nan") if broken else 1.0)


class Tiny(nn.Module):
    """A layer of maps and a classifier, with or without batch normalisation, whose statistics are those of a batch.

    Args:
        width: channels.
        norm: whether there is one.
        double: whether it computes in float64.
    """

    def __init__(self, width: int = 4, *, norm: bool = False, double: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width) if norm else nn.Identity())
        self.head, self.double_ = nn.Linear(width, 10), double
        if double:
            self.double()

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.body(images.double() if self.double_ else images).relu().mean((2, 3)))
        return scores


def small() -> nn.Module:
    return Double("vgg7")


def big() -> nn.Module:
    return Double("vgg16")


def skipping() -> nn.Module:
    return Skipping("vgg7")


def breaking() -> nn.Module:
    return Breaking("vgg7")


class Stopping(Watch):
    """The last process alone is asked to stop."""

    def __init__(self, at: list[int] | None) -> None:
        self.at, self.told = at, []

    def step(self, epoch: int, step: int, images: int, losses: Any) -> None:
        if self.at == [epoch, step] and here().rank == here().size - 1:
            os.kill(os.getpid(), signal.SIGINT)

    def tell(self, text: str) -> None:
        self.told.append(text)


def do(job: dict[str, Any]) -> None:
    setups = set_up_cohort([load_recipe(job["recipe"], overrides) for overrides in job["rows"].values()])
    runs = [RunFolder(Path(job["out"]) / name) for name in job["rows"]]
    watch = Stopping(job.get("stop"))
    try:
        outcomes = train_cohort(list(zip(setups, runs, strict=True)), watch=watch, resume=True)
    except Interrupted:
        print(f"{job['out']} interrupted")
        return
    ends = [type(outcome).__name__ if isinstance(outcome, LayerlinkError) else outcome for outcome in outcomes]
    failures = [str(outcome) for outcome in outcomes if isinstance(outcome, LayerlinkError)]
    print(json.dumps({"out": job["out"], "ends": ends, "told": watch.told + failures}))


if __name__ == "__main__":
    with joined():
        for each in json.loads(Path(sys.argv[1]).read_text()):
            do(each)
    leave(0)
