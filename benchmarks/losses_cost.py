"""What every loss of the screening costs a step, in time and memory, beside labels only.

    python benchmarks/losses_cost.py data.root=../shared/data/cifar10 teacher.weights=cifar10_resnet56.safetensors

Each row of the sweep cifar/losses runs in a process of its own, for the same batch and with what the teacher says of it
at hand: the teacher's pass is one for all rows of a cohort, and is timed by itself. A step of the row and one of labels
only are taken in turn, in the processor's time of one thread, which other programs disturb less; given is the quotient
within a round. Memory is the peak of resident memory within a step above what the process holds between steps. Further
arguments are overrides of the sweep, as `layerlink sweep` takes them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from resident import peak_of

SWEEP, BASELINE = "cifar/losses", "labels only"
WARM_UP = 3


def child(row: str, sweep: str, overrides: list[str], rounds: int) -> None:
    import torch

    from layerlink.lab.run.learning.learner import Learner
    from layerlink.lab.run.learning.step import taught_for
    from layerlink.lab.run.setup.cohort import set_up_cohort
    from layerlink.lab.sweep.file import load_sweep

    torch.set_num_threads(1)
    runs = {run.row.name: run.loaded for run in load_sweep(sweep, overrides).runs}
    setups = set_up_cohort([runs[BASELINE], runs[row]])
    base, tried = (Learner(setup) for setup in setups)
    batch = next(setups[0].batches.epoch(0))
    for learner in (base, tried):
        learner.start_epoch(0)
    start = time.process_time()
    taught = taught_for(setups[1].taught_by, setups, batch)
    teacher = time.process_time() - start
    for _ in range(WARM_UP):
        start = time.process_time()
        taught_for(setups[1].taught_by, setups, batch)
        teacher = min(teacher, time.process_time() - start)
        for learner in (base, tried):
            learner.step(batch, taught)
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for learner, own in zip((base, tried), times, strict=True):
            start = time.process_time()
            learner.step(batch, taught)
            own.append(time.process_time() - start)
    peak = peak_of(lambda: tried.step(batch, taught), trim=True)
    quotients = [second / first for first, second in zip(*times, strict=True)]
    low, middle, high = statistics.quantiles(quotients, n=4, method="inclusive")
    print(1000 * statistics.median(times[1]), middle, low, high, peak, 1000 * teacher)


def measured(row: str, given: list[str]) -> list[float]:
    done = subprocess.run(
        [sys.executable, __file__, *given, "--child", row], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return [float(value) for value in done.stdout.split()[-6:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--sweep", default=SWEEP)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.sweep, arguments.overrides, arguments.rounds)
        return
    from layerlink.lab.sweep.file import load_sweep

    rows = list(dict.fromkeys(run.row.name for run in load_sweep(arguments.sweep, arguments.overrides).runs))
    head = "| row | ms a step | of labels only | quartiles | peak of a step, MB | beside labels only, MB |"
    print(f"{head}\n|---|---:|---:|---:|---:|---:|")
    plain, teachers = 0.0, []
    for row in sorted(rows, key=lambda name: name != BASELINE):
        step, middle, low, high, peak, teacher = measured(row, sys.argv[1:])
        plain = plain or peak
        teachers.append(teacher)
        line = f"| {row} | {step:.1f} | {middle:.2f} | {low:.2f} to {high:.2f} | {peak:.0f} | {peak - plain:+.0f} |"
        print(line, flush=True)
    print(f"\nThe teacher's pass over a batch, once for all: {statistics.median(teachers):.1f} ms.")


if __name__ == "__main__":
    main()
