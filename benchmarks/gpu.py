"""Training at 224x224 on one GPU: share of its matrix rate, and against a plain float32 loop. One call.

    python benchmarks/gpu.py

VGG-16 teaches VGG-7 by labels, soft targets and links 2-5 in bfloat16; random images that lie on the GPU. First the
loops take turns (see training_speed.py), then the parts of a step are timed, then the table of both is printed last.
FLOPs are those of the models' definition: the teacher's forward pass and three times the student's.
"""

from __future__ import annotations

import argparse
import sys

import torch
import training_speed

from layerlink.lab.bench.speed import measure_speed, set_up_random
from layerlink.lab.run.setup.machine import processor_name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="cuda", help="cuda; cpu tries the script")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("this machine has no CUDA GPU; --device cpu --size 32 tries the script")
    options = {name: getattr(arguments, name) for name in ("size", "batch", "rounds", "steps", "device")}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    training_speed.main([*words, "--cases", "plain bfloat16,by hand,live"])
    fields = [
        f"data.image_size={arguments.size}",
        f"training.batch_size={arguments.batch}",
        f"device={arguments.device}",
        "precision=bfloat16",
    ]
    setup = set_up_random(fields)
    speed = measure_speed(setup)
    flops = sum(part.flops or 0.0 for part in speed.parts)
    print(f"\n{processor_name(setup.device)}, torch {torch.__version__}, {arguments.size}x{arguments.size}\n")
    print(f"| part | ms a batch of {speed.batch} | quartiles | of the matrix rate |\n|---|---:|---:|---:|")
    for part in speed.parts:
        share, timing = speed.share(part), part.timing
        shown = "-" if share is None else f"{100 * share:.0f} %"
        print(f"| {part.name} | {timing.median:.2f} | {timing.low:.2f} to {timing.high:.2f} | {shown} |")
    step = speed.step
    share = flops / (step.median / 1000) / speed.matrix_rate
    print(f"| **whole step** | {step.median:.2f} | {step.low:.2f} to {step.high:.2f} | {100 * share:.0f} % |")
    rate = 1000 * speed.batch / step.median
    print(f"\nmatrix rate {speed.matrix_rate / 1e12:.1f} TFLOP/s; {rate:,.0f} images/s")


if __name__ == "__main__":
    main()
