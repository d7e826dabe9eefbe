"""Does anything grow? Many steps of the loop's own step, with memory and open files on the way.

    python benchmarks/endurance.py --steps 660000

660,000 steps are what 24 hours of VGG-7 at batch 128 take on two cores (0.13 s a step). The student is tiny, so that
they pass in minutes; everything around it is what a training uses: views, teacher, links with scales, meter, EMA.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch
from resident import held

from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.learning.learner import Learner
from layerlink.lab.run.meter import Meter
from layerlink.lab.run.setup.setup import set_up

RECIPE = """\
data: {name: digits, image_size: 8, train_images: 64, validation: 32, augment: crop-flip}
teacher: {model: "endurance:make"}
student: {model: "endurance:make"}
soft: {temperature: 2}
links: ["1 : mse, scale=gradient", "2 : mse, scale=teacher, decay=linear"]
training: {epochs: 100000, batch_size: 8, ema: 0.99, clip_norm: 5}
precision: float32
"""


def make() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=660_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Path(tempfile.gettempdir()) / f"endurance-{os.getpid()}.yaml"
    recipe.write_text(RECIPE)
    setup = set_up(load_recipe(str(recipe)), teacher=make())
    recipe.unlink()
    learner, meter, step, start = Learner(setup), Meter(), 0, time.monotonic()
    epoch, marks = 0, []
    while step < arguments.steps:
        learner.start_epoch(epoch)
        for batch in setup.batches.epoch(epoch):
            meter.add(learner.step(batch), batch, 0.0, setup.task)
            step += 1
            if step % (arguments.steps // 10) == 0:
                marks.append((step, held(), len(os.listdir("/proc/self/fd"))))
                print(
                    f"{step:>9,} steps   {marks[-1][1]:8.1f} MB   {marks[-1][2]} open files   "
                    f"{time.monotonic() - start:,.0f} s",
                    flush=True,
                )
        meter.means()
        meter, epoch = Meter(), epoch + 1
    growth = 100 * (marks[-1][1] / marks[0][1] - 1)
    print(
        f"from {marks[0][0]:,} to {marks[-1][0]:,} steps: {growth:+.2f} % memory, "
        f"{marks[-1][2] - marks[0][2]:+d} open files"
    )


if __name__ == "__main__":
    main()
