"""Training on more images than memory holds: images a second of loader, step and both, and the memory of all processes.

    benchmarks/streaming.py FOLDER [--images 100000] [--size 224] [--steps 20] [--workers 0 1 2]

Writes so many JPEGs of about 300x300 pixels into FOLDER (once), and trains a ResNet-20 on them at SIZE for some steps.
Memory is the PSS of the process and of those that it started: pages that they share are counted once.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 10


def write(root: Path, count: int) -> None:
    """Blurred noise, each image another; of sides between 280 and 320."""
    draw = np.random.default_rng(0)
    for number in range(count):
        path = root / "train" / f"class{number % CLASSES}" / f"{number:06}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(draw.integers(0, 255, (12, 12, 3), dtype=np.uint8))
        sides = tuple(int(side) for side in draw.integers(280, 321, 2))
        content = io.BytesIO()
        small.resize(sides, Image.Resampling.BILINEAR).save(content, "JPEG", quality=85)
        path.write_bytes(content.getvalue())


def memory(pid: int) -> float:
    """PSS of a process and all below it, in 10^9 bytes."""
    total = 0
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        total += sum(int(memory(int(it)) * 1e9) for it in child.read_text().split())
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            total += int(line.split()[1]) * 1024
    return total / 1e9


RECIPE = """
data: {{name: folder, root: {root}, image_size: {size}, validation: 100, memory_gb: 0.5, workers: {workers}}}
student: {{model: resnet20}}
training: {{epochs: 1, batch_size: 64, lr: 0.01}}
"""


def measure(root: Path, size: int, steps: int, workers: int) -> dict[str, float]:
    """One number of processes, in a process of its own (see main)."""
    from layerlink.lab.recipe.file import load_recipe
    from layerlink.lab.run.learning.learner import Learner
    from layerlink.lab.run.setup.setup import set_up

    begun = time.perf_counter()
    setup = set_up(load_recipe("streaming.yaml", text=RECIPE.format(root=root, size=size, workers=workers)))
    learner, ready = Learner(setup), time.perf_counter() - begun

    def pace(step: bool, load: bool) -> float:
        batches, times, kept = setup.batches.epoch(0), [], None
        for number in range(steps + 2):
            start = time.perf_counter()
            if load or kept is None:
                kept = next(batches)
            if step:
                learner.step(kept)
            if number > 1:
                times.append(time.perf_counter() - start)
        batches.close()
        return len(kept.labels) / statistics.mean(times)

    learner.start_epoch(0)
    found = {"loader": pace(False, True), "step": pace(True, False)}
    batches = setup.batches.epoch(0)
    most, start = 0.0, time.perf_counter()
    for number, batch in enumerate(batches):
        learner.step(batch)
        if number % 4 == 0:
            most = max(most, memory(os.getpid()))
        if number == steps + 1:
            break
        if number == 1:
            start = time.perf_counter()
    found["together"] = steps * 64 / (time.perf_counter() - start)
    batches.close()
    return {"workers": workers, "images": len(setup.images.train), "ready_s": ready, **found, "pss_gb": most}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--one", action="store_true")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.folder, asked.size, asked.steps, asked.workers[0])))
        return
    write(asked.folder, asked.images)
    print(f"{asked.images:,} images in {asked.folder.name}, {asked.size}x{asked.size}, ResNet-20, batches of 64")
    print("workers  images/s of the loader   of the step   of both   PSS GB   seconds until ready")
    for workers in asked.workers:
        words = [str(asked.folder), "--size", str(asked.size), "--steps", str(asked.steps), "--workers", str(workers)]
        done = subprocess.run([sys.executable, __file__, *words, "--one"], capture_output=True, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{workers:7}  {row['loader']:22.0f}  {row['step']:12.0f}  {row['together']:8.0f}  {row['pss_gb']:7.2f}  "
            f"{row['ready_s']:8.1f}"
        )


if __name__ == "__main__":
    main()
