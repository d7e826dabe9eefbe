"""How much memory does training need, against a plain float32 loop?

    python benchmarks/training_memory.py

Each case runs in a process of its own for a few steps (VGG-16 teaches VGG-7, 32x32, batch 128, labels, soft targets,
links 2-5). Given is the peak of resident memory above that of a process that has only imported torch, and the ratio to
the plain loop. "default allocator" is what a loop of one's own gets; the command line keeps freed memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from resident import held

CASES = ("idle", "plain", "plain bfloat16", "live, default allocator", "live", "stored", "cohort of nine")
STEPS = 6


def child(name: str, size: int, batch: int) -> None:
    import torch

    torch.randn(8, 8) @ torch.randn(8, 8)
    if name != "idle":
        from training_speed import build

        from layerlink.cli.process.memory import keep_freed_memory

        if name in ("live", "stored", "cohort of nine"):
            keep_freed_memory()
        with tempfile.TemporaryDirectory() as store:
            case = name.partition(",")[0]
            step, _ = build([case], size, batch, Path(store), baseline=case == "plain")[case]
            for _ in range(STEPS):
                step()
    print(held("VmHWM"))


def measured(name: str, arguments: argparse.Namespace) -> float:
    options = ["--size", str(arguments.size), "--batch", str(arguments.batch), "--child", name]
    done = subprocess.run([sys.executable, __file__, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--child", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.size, arguments.batch)
        return
    idle = measured("idle", arguments)
    print(f"{arguments.size}x{arguments.size}, batch {arguments.batch}; idle with torch imported: {idle:,.0f} MB\n")
    print("| case | peak above idle, MB | of plain |\n|---|---:|---:|")
    plain = 0.0
    for name in CASES[1:]:
        more = measured(name, arguments) - idle
        plain = plain or more
        print(f"| {name} | {more:,.0f} | {more / plain:.2f} |")


if __name__ == "__main__":
    main()
