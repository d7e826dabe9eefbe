"""How fast is training, against a plain float32 loop in the same process?

    python benchmarks/training_speed.py                          # 32x32, batch 128
    python benchmarks/training_speed.py --size 224 --batch 16 --rounds 3 --steps 1 --cases live

VGG-16 teaches VGG-7 by labels, soft targets and links 2-5; random images. All cases take turns, ``rounds`` times, a few
steps each; the table gives images/s (of the median round) and the ratio to the plain loop in the same round: minimum,
median, maximum. "plain" is what people write first: float32, torch's defaults, hooks, the losses by torch's functions.
"by hand" is the same loop with everything that layerlink does to be fast, but without its taps, links and objective.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.cli.process.memory import keep_freed_memory
from layerlink.data import Batch, ImageSet, Views
from layerlink.lab.bench import speed
from layerlink.lab.recipe.file import LoadedRecipe, load_recipe
from layerlink.lab.run.learning.learner import Learner
from layerlink.lab.run.learning.step import taught_for
from layerlink.lab.run.setup.cohort import set_up_cohort
from layerlink.lab.run.setup.fast_paths import keep_cast_weights, make_fast
from layerlink.lab.run.setup.images import Images
from layerlink.lab.run.setup.machine import choose_precision, processor_name
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.lab.run.teaching.cohort_teacher import CohortTeacher
from layerlink.lab.run.watch import Watch
from layerlink.losses import mse
from layerlink.measure.timing import wait_for
from layerlink.models import build_model

LINKS = ("group2", "group3", "group4", "group5")
CPU = torch.device("cpu")
TEMPERATURES = (0.6, 1, 1.5, 2, 2.5, 3, 5, 10, 40)
Step = Callable[[], None]


class Plain:
    """A loop as written by hand; with ``fast``, in bfloat16 with all that layerlink does besides."""

    def __init__(self, images: Tensor, labels: Tensor, *, autocast: bool, fast: bool) -> None:
        self.teacher = random_teacher(images.shape[-1]).eval().requires_grad_(False)
        self.student = build_model("vgg7", num_classes=10, image_size=images.shape[-1], channels=3)
        self.images, self.labels, self.autocast, self.fast = images.clone(), labels, autocast, fast
        for model in (self.teacher, self.student):
            model.to(images.device)
        if autocast:
            for model in (self.teacher, self.student):
                model.to(memory_format=torch.channels_last)
            self.images = self.images.to(memory_format=torch.channels_last)
        if fast:
            make_fast(self.student, images.device)
            make_fast(self.teacher, images.device, frozen=True)
            keep_cast_weights(self.teacher, "bfloat16", self.images[:2])
        self.optimizer = torch.optim.SGD(self.student.parameters(), lr=1e-3, momentum=0.9, fused=fast or None)
        self.seen: dict[str, Tensor] = {}
        for side, model in (("t", self.teacher), ("s", self.student)):
            for name in LINKS:
                model.get_submodule(name).register_forward_hook(
                    lambda _module, _args, output, key=side + name: self.seen.__setitem__(key, output)
                )

    def step(self) -> None:
        with torch.autocast(self.images.device.type, torch.bfloat16, enabled=self.autocast):
            with torch.no_grad():
                taught = self.teacher(self.images)
            logits = self.student(self.images)
            log_student = (logits.float() / 2).log_softmax(1)
            soft = F.kl_div(log_student, (taught.float() / 2).softmax(1), reduction="batchmean")
            loss = F.cross_entropy(logits.float(), self.labels) + 10 * soft
            for name in LINKS:
                pair = self.seen["s" + name], self.seen["t" + name]
                loss = loss + 10 * (mse(*pair) if self.fast else F.mse_loss(pair[0].float(), pair[1].float()))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 5)
        self.optimizer.step()


def random_teacher(size: int) -> nn.Module:
    """The same weights every time."""
    torch.manual_seed(0)
    return build_model("vgg16", num_classes=10, image_size=size, channels=3)


def fast_teacher(size: int, device: torch.device) -> nn.Module:
    """The same, as fast as a recipe's."""
    torch.manual_seed(0)
    return speed.random_teacher(size, device, choose_precision("auto", device))


def random_images(count: int, size: int, device: torch.device) -> Images:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=draw)
    part = ImageSet(images, torch.randint(0, 10, (count,), generator=draw), tuple("0123456789")).to(device)
    return Images(
        part,
        part,
        part,
        Views(size, (0.5,) * 3, (0.25,) * 3, "none", 0, 4),
        {"train": "random", "image_size": size, "mean": [0.5] * 3, "std": [0.25] * 3},
    )


def recipe(size: int, batch: int, temperature: float, *more: str) -> LoadedRecipe:
    links = ", ".join(f'"{name} : mse * 10"' for name in LINKS)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(
            f"data: {{name: digits, image_size: {size}}}\n"
            f"teacher: {{model: vgg16}}\nstudent: vgg7\nsoft: {{temperature: {temperature}, weight: 10}}\n"
            f"links: [{links}]\ntraining: {{epochs: 1000, batch_size: {batch}, clip_norm: 5, lr: 0.001}}\n"
        )
        file.flush()
        return load_recipe(file.name, more)


def endless(setup: Setup) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from setup.batches.epoch(epoch)
        epoch += 1


def ours(setups: list[Setup]) -> Step:
    """A step of the training loop for all students, with its batch and its teacher."""
    learners, batches = [Learner(setup) for setup in setups], endless(setups[0])
    for learner in learners:
        learner.start_epoch(0)
    teacher = CohortTeacher(setups, Watch()).at(0, setups)
    assert teacher is not None

    def step() -> None:
        batch = next(batches)
        taught = taught_for(teacher, setups, batch)
        for learner in learners:
            learner.step(batch, taught)

    return step


def build(
    names: list[str], size: int, batch: int, store: Path, *, device: torch.device = CPU, baseline: bool = True
) -> dict[str, tuple[Step, int]]:
    """Each case's step, and how many students it trains; with the plain loop where ``baseline`` asks for it."""
    images, where = random_images(4 * batch, size, device), f"device={device.type}"
    views, labels = (it.to(device) for it in (torch.randn(batch, 3, size, size), torch.randint(0, 10, (batch,))))

    def setup(loaded: LoadedRecipe) -> Setup:
        return set_up(loaded, teacher=fast_teacher(size, device), images=images)

    def plain(**how: bool) -> Step:
        return Plain(views, labels, **how).step

    def cohort() -> Step:
        recipes = [recipe(size, batch, temperature, where) for temperature in TEMPERATURES]
        return ours(set_up_cohort(recipes, setup(recipes[0])))

    stored = recipe(size, batch, 2, f"teacher.store.root={store}", where)
    makers: dict[str, tuple[Callable[[], Step], int]] = {
        "plain": (lambda: plain(autocast=False, fast=False), 1),
        "plain bfloat16": (lambda: plain(autocast=True, fast=False), 1),
        "by hand": (lambda: plain(autocast=True, fast=True), 1),
        "live": (lambda: ours([setup(recipe(size, batch, 2, where))]), 1),
        "stored": (lambda: ours([setup(stored)]), 1),
        "cohort of nine": (cohort, 9),
    }
    return {
        name: (make(), count)
        for name, (make, count) in makers.items()
        if name in names or (baseline and name == "plain")
    }


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="steps of a case in a round")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--cases", default="plain bfloat16,by hand,live,stored,cohort of nine", help="with commas")
    arguments = parser.parse_args(words)
    keep_freed_memory()  # as the command line does; the plain loop profits, too
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as store:
        device = torch.device(arguments.device)
        cases = build(arguments.cases.split(","), arguments.size, arguments.batch, Path(store), device=device)
        for name, (step, _) in cases.items():
            for _ in range(5 if arguments.size < 100 and name != "cohort of nine" else 1):
                step()
        for _ in range(arguments.rounds):
            for name, (step, count) in cases.items():
                wait_for(device)
                start = time.perf_counter()
                for _ in range(arguments.steps):
                    step()
                wait_for(device)
                seconds = time.perf_counter() - start
                rates.setdefault(name, []).append(arguments.batch * arguments.steps * count / seconds)
    print(
        f"{arguments.size}x{arguments.size}, batch {arguments.batch}, {arguments.rounds} rounds of {arguments.steps} "
        f"steps, {processor_name(device)}, torch {torch.__version__}\n"
    )
    print("| case | images/s and student | times as fast as plain: min | median | max |\n|---|---:|---:|---:|---:|")
    for name, values in rates.items():
        ratios = [value / plain for value, plain in zip(values, rates["plain"], strict=True)]
        shown = " | ".join(f"{number:.2f}" for number in (min(ratios), statistics.median(ratios), max(ratios)))
        print(f"| {name} | {statistics.median(values):.1f} | {shown} |")


if __name__ == "__main__":
    main()
