"""How long until `layerlink run` takes its first step, against importing torch?

    python benchmarks/startup.py --rounds 5

Both are processes of their own that take turns, with warm disk caches: `python -c "import torch"`, and a run of
VGG-7 on the digits that is killed as its first step ends. Prints seconds and their difference.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

FIRST_STEP = """\
import os, sys
from layerlink.lab.run.learning import learner
step = learner.Learner.step
def first(*arguments):
    step(*arguments)
    os._exit(0)
learner.Learner.step = first
sys.argv = ["layerlink", "run", "digits/hard", "--out", sys.argv[1]]
from layerlink.cli.main import main
main()
"""


def seconds(*command: str) -> float:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *command], capture_output=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.decode())
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch_only, run = [], []
    with tempfile.TemporaryDirectory() as place:
        for turn in range(-1, arguments.rounds):  # the first round warms the disk's cache
            times = seconds("-c", "import torch"), seconds("-c", FIRST_STEP, f"{place}/run{turn}")
            if turn >= 0:
                torch_only.append(times[0])
                run.append(times[1])
    more = [second - first for first, second in zip(torch_only, run, strict=True)]
    for name, values in (("import torch", torch_only), ("run, to its first step", run), ("difference", more)):
        print(
            f"{name:24} {min(values):6.2f} {statistics.median(values):6.2f} {max(values):6.2f} s   (min, median, max)"
        )


if __name__ == "__main__":
    main()
