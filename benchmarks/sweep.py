"""What sharing the teacher saves: nine temperatures as nine runs, as one cohort, and with stored logits.

    python benchmarks/sweep.py --data ../shared/data/cifar10 --images 2560 --rounds 3

All variants train the same nine students with the same code in the same process, in turn, ``rounds`` times over; the
table gives the minimum, the median and the spread of the times and of their ratios to nine separate runs with a live
teacher in the same round. One epoch, so that no checkpoint is written: in trainings of usual length
they take 5 % at most. Timed is the training with its validation on 64 images; set-up and test reading are not.

The teacher is VGG-16 with random weights, which cost the same as trained ones. Stored logits are timed twice: with
the pass that fills the store, and when it is there already.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from layerlink.cli.process.memory import keep_freed_memory
from layerlink.data import ImageSet
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run.folder import RunFolder
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.setup import Setup
from layerlink.lab.run.training import train_cohort
from layerlink.lab.run.watch import Watch
from layerlink.models import build_model

TEMPERATURES = (0.6, 1, 1.5, 2, 2.5, 3, 5, 10, 40)
TEST_IMAGES = 64  # reading the test images is not what is timed


class Clock(Watch):
    """The seconds between a training's beginning and the end of its last epoch."""

    def __init__(self) -> None:
        self.seconds, self._start = 0.0, 0.0

    def start(self) -> None:
        self._start = time.perf_counter()

    def epoch(self, run: RunFolder, row: dict[str, Any]) -> None:
        self.seconds = time.perf_counter() - self._start


def recipes(arguments: argparse.Namespace, teacher: Path, store: Path | None) -> list[LoadedRecipe]:
    common = [
        f"data.root={arguments.data}",
        f"data.train_images={arguments.images}",
        "data.validation=64",
        f"teacher.weights={teacher}",
        f"training.epochs={arguments.epochs}",
        f"precision={arguments.precision}",
    ]
    stored = [] if store is None else ["teacher.store.dtype=float32", f"teacher.store.root={store}"]
    return [load_recipe("study/vgg7-soft", [*common, *stored, f"soft.temperature={t}"]) for t in TEMPERATURES]


def few_tests(setup: Setup) -> Setup:
    test = setup.images.test
    few = ImageSet(test.images[:TEST_IMAGES], test.labels[:TEST_IMAGES], test.classes)
    return dataclasses.replace(setup, images=dataclasses.replace(setup.images, test=few))


def timed(loaded: Sequence[LoadedRecipe], folder: Path) -> float:
    """Seconds to train the students, those given together as a cohort."""
    setups = [few_tests(setup) for setup in set_up_cohort(loaded)]
    runs = [RunFolder(folder / f"{recipe.recipe.soft.temperature:g}") for recipe in loaded]
    clock = Clock()
    clock.start()
    outcomes = train_cohort(list(zip(setups, runs, strict=True)), watch=clock)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return clock.seconds


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = {}
    for run in sorted(folder.iterdir()):
        for name, tensor in safetensors.torch.load_file(RunFolder(run).student).items():
            found[f"{run.name}/{name}"] = tensor
    return found


def difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """The largest relative L2 distance of a tensor; 0 where all bits are the same."""
    distances = [(first[name] - second[name]).norm() / first[name].norm().clamp_min(1e-30) for name in first]
    return max(float(distance) for distance in distances)


def one_round(arguments: argparse.Namespace, teacher: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of every variant, and how far its weights are from those of the separate runs."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        live, stored = recipes(arguments, teacher, None), recipes(arguments, teacher, root / "store")
        seconds = {
            "nine runs, live teacher": sum(timed([one], root / "separate") for one in live),
            "one cohort": timed(live, root / "cohort"),
            "nine runs, stored logits, first to be filled": sum(timed([one], root / "filling") for one in stored),
            "nine runs, stored logits": sum(timed([one], root / "stored") for one in stored),
            "one cohort, stored logits": timed(stored, root / "stored-cohort"),
        }
        reference = weights(root / "separate")
        folders = ("separate", "cohort", "filling", "stored", "stored-cohort")
        distances = [difference(reference, weights(root / name)) for name in folders]
    return seconds, dict(zip(seconds, distances, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of CIFAR-10")
    parser.add_argument("--images", type=int, default=2560)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    keep_freed_memory()  # as the command line does
    with tempfile.TemporaryDirectory() as place:
        torch.manual_seed(0)
        teacher = Path(place) / "teacher.safetensors"
        model = build_model("vgg16", num_classes=10, image_size=32, channels=3)
        safetensors.torch.save_file(model.state_dict(), teacher)
        rounds = [one_round(arguments, teacher) for _ in range(arguments.rounds)]
    print(
        f"{arguments.images} images, {arguments.epochs} epochs, {arguments.rounds} rounds, precision "
        f"{arguments.precision}, {torch.get_num_threads()} threads"
    )
    print(f"{'':46}  seconds: min  median  max    ratio: min  median  max    weights differ by")
    for name in rounds[0][0]:
        times = [seconds[name] for seconds, _ in rounds]
        ratios = [seconds[name] / seconds["nine runs, live teacher"] for seconds, _ in rounds]
        print(
            f"{name:46}  {min(times):12.2f} {statistics.median(times):7.2f} {max(times):6.2f}"
            f"  {min(ratios):11.3f} {statistics.median(ratios):7.3f} {max(ratios):6.3f}"
            f"  {max(distances[name] for _, distances in rounds):.1e}"
        )


if __name__ == "__main__":
    main()
