"""Weak scaling on the CPU: two processes with a batch each against one process with one, a thread each.

    python benchmarks/scaling.py --rounds 5

VGG-7 on scikit-learn's digits at 32x32, from labels alone and with a VGG-16 (random weights, which cost the same) and
links. In every round the variants take turns, each in fresh processes; timed is the median step, batch loading
and views included. "Side by side" are two processes that do not know of each other: what is lost there is lost to
shared memory and caches, or to other programs, and only the rest to talking. The efficiency is the time of one process
over that of two in the same round: 1 means that two processes do twice the work in the same time. The last columns are
the same with the two side by side in place of the one: what talking leaves. The processor's own time is measured too:
other programs on the machine do not count in it, and neither does waiting for the other process.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time

STEPS, WARM_UP, BATCH = 12, 3, 64  # the batch is each process's
VARIANTS = ("alone", "side by side", "together")
LINKS = ["soft={temperature: 2}", 'links=["group2 : mse", "group3 : mse", "group4 : mse", "group5 : mse"]']
TASKS = {"labels alone": [], "teacher and links": ["teacher={model: vgg16, weights: none}", *LINKS]}


def child(task: str) -> None:
    from layerlink.cli.process.memory import keep_freed_memory

    keep_freed_memory()
    import torch

    from layerlink.lab.parallel.processes import joined
    from layerlink.lab.recipe.file import load_recipe
    from layerlink.lab.run.learning.learner import Learner
    from layerlink.lab.run.setup.setup import set_up
    from layerlink.models import build_model

    torch.set_num_threads(1)
    with joined() as processes:
        size = f"training.batch_size={BATCH * processes.size}"
        loaded = load_recipe("digits/hard", [size, "data.image_size=32", "student={model: vgg7}", *TASKS[task]])
        teacher = build_model("vgg16", num_classes=10, image_size=32, channels=1) if TASKS[task] else None
        setup = set_up(loaded, teacher=teacher)
        learner, times = Learner(setup), []
        learner.start_epoch(0)
        clock = now()
        for batch in (batch for epoch in range(STEPS) for batch in setup.batches.epoch(epoch)):
            if batch.count == BATCH * processes.size:  # not the smaller last one
                learner.step(batch)
                times.append([after - before for after, before in zip(now(), clock, strict=True)])
            clock = now()
            if len(times) == STEPS + WARM_UP:
                break
        count = sum(parameter.numel() for parameter in setup.distiller.student.parameters())
        seconds, busy = (statistics.median(column) for column in zip(*times[WARM_UP:], strict=True))
        print(json.dumps({"seconds": seconds, "busy": busy, "parameters": count, "how": setup.precision}))


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def start(task: str, rank: int, size: int, port: int) -> subprocess.Popen[str]:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    texts = {name: str(number) for name, number in numbers.items()}
    environment = {**os.environ, **texts, "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, __file__, "--child", task], env=environment, stdout=-1, text=True)


def measured(task: str, variant: str) -> dict[str, float]:
    """The slower process's median step."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    size = 2 if variant == "together" else 1
    group = [start(task, rank if size > 1 else 0, size, port) for rank in range(1 if variant == "alone" else 2)]
    found = [json.loads(process.communicate()[0]) for process in group]
    return max(found, key=lambda each: each["seconds"])


def spread(values: list[float], digits: int) -> str:
    return "  ".join(f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=tuple(TASKS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    print(f"{arguments.rounds} rounds, {BATCH} images a process, 1 thread each; min median max")
    for task in TASKS:
        rounds = [{variant: measured(task, variant) for variant in VARIANTS} for _ in range(arguments.rounds)]
        some = rounds[0]["alone"]
        print(f"{task}: {some['parameters']:,} parameters, {some['how']}")
        for what, name in (("seconds", "by the clock"), ("busy", "of the processor")):
            for variant in VARIANTS:
                text = f"  {variant:14} {spread([1000 * each[variant][what] for each in rounds], 1)} ms a step {name}"
                for other in VARIANTS[: VARIANTS.index(variant)]:
                    ratios = [each[other][what] / each[variant][what] for each in rounds]
                    text += f"   {other} / it {spread(ratios, 3)}"
                print(text, flush=True)


if __name__ == "__main__":
    main()
