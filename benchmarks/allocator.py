"""What keeping freed memory saves: the student's training step with and without it, in processes that take turns.

    python benchmarks/allocator.py --data ../shared/data/cifar10 --rounds 5

VGG-7 at 32x32, batch 128, labels only. The ratio is of the medians of a pair of processes that ran one after the other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from resident import held

STEPS, WARM_UP = 40, 8


def child(data: str, keep: bool) -> None:
    from layerlink.cli.process.memory import keep_freed_memory
    from layerlink.lab.recipe.file import load_recipe
    from layerlink.lab.run.learning.learner import Learner
    from layerlink.lab.run.setup.setup import set_up

    if keep and not keep_freed_memory():
        sys.exit("this machine's allocator does not take the settings")
    setup = set_up(load_recipe("study/vgg7-hard", [f"data.root={data}", f"data.train_images={128 * STEPS}"]))
    learner, times = Learner(setup), []
    learner.start_epoch(0)
    for batch in setup.batches.epoch(0):
        start = time.perf_counter()
        learner.step(batch)
        times.append(time.perf_counter() - start)
    print(json.dumps({"seconds": statistics.median(times[WARM_UP:]), "peak": held("VmHWM")}))


def measured(data: str, keep: bool) -> dict[str, float]:
    command = [sys.executable, __file__, "--data", data, "--child", "keep" if keep else "default"]
    return dict(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of CIFAR-10")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=("keep", "default"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.data, arguments.child == "keep")
        return
    pairs = [(measured(arguments.data, False), measured(arguments.data, True)) for _ in range(arguments.rounds)]
    for name, place in (("default", 0), ("freed memory kept", 1)):
        times = [1000 * pair[place]["seconds"] for pair in pairs]
        peak = max(pair[place]["peak"] for pair in pairs)
        print(
            f"{name:20} {min(times):7.1f} {statistics.median(times):7.1f} {max(times):7.1f} ms a step   {peak:,.0f} MB"
        )
    ratios = [kept["seconds"] / default["seconds"] for default, kept in pairs]
    print(f"{'ratio':20} {min(ratios):7.3f} {statistics.median(ratios):7.3f} {max(ratios):7.3f}")


if __name__ == "__main__":
    main()
