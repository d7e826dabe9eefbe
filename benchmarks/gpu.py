"""Training steps on one GPU: time, share of its matrix rate, launches, waits, idle share. Goes on where it was stopped.

    python benchmarks/gpu.py --out runs/gpu                          # 32, 64, 224; VGG, ResNet, a transformer
    python benchmarks/gpu.py --out runs/gpu --seconds 540            # no row is begun after so long: call it again
    python benchmarks/gpu.py --out runs/gpu --ways eager             # of eager, compiled and graphs, side by side
    python benchmarks/gpu.py --out runs/gpu --against                # also loops by hand, see training_speed.py
    python benchmarks/gpu.py --dry-run                               # a CPU, one small row of each network, a minute

A row is a step run eagerly, by torch.compile, or by CUDA graphs of that. A teacher teaches a smaller student by labels,
soft targets and a link; random images that lie on the device. A row of the table is a size, a pair, a precision and a
way; it is written when it is measured, and not measured again. FLOPs are those of the models' definition: the teacher's
forward pass and three times the student's. The matrix rate is that of a large product, measured in the same process
before each row. From ``torch.profiler`` over ten steps: kernels and copies launched a step; calls in which the host
waited for the GPU, a step; and the share of time in which the GPU ran none.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, product
from pathlib import Path
from typing import Any, NamedTuple

import torch
import training_speed
from torch import Tensor
from torch.autograd import DeviceType

from layerlink.data import Batch, ImageSet, Views
from layerlink.lab.bench.speed import matrix_rate
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.compiled.compiling import ModelCompiler
from layerlink.lab.run.learning.learner import Learner
from layerlink.lab.run.learning.step import taught_for
from layerlink.lab.run.setup.images import Images
from layerlink.lab.run.setup.machine import choose_device, processor_name
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.measure.flops import count_flops
from layerlink.measure.timing import measure, wait_for
from layerlink.taps import program

SIZES = (32, 64, 224)
BATCH = {32: 512, 64: 256, 224: 128}
WAYS = {"eager": "false", "compiled": "true", "graphs": "graphs"}  # what a recipe says for it
PROFILED = 10  # steps
WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


class Pair(NamedTuple):
    """What is measured: lines of a recipe, with {size} and {patch}."""

    teacher: str
    student: str
    link: str


PAIRS = {
    "vgg": Pair("{{model: vgg16, weights: own}}", "{{model: vgg7}}", "group4 -> group4 : mse"),
    "resnet": Pair("{{model: resnet56, weights: own}}", "{{model: resnet20}}", "layer2 -> layer2 : mse"),
    "transformer": Pair(
        '{{model: "gpu_nets:Transformer", weights: own, arguments: {{image_size: {size}, patch: {patch}, width: 384, '
        "depth: 12}}}}",
        '{{model: "gpu_nets:Transformer", arguments: {{image_size: {size}, patch: {patch}, width: 192, depth: 6}}}}',
        "layers.11 -> layers.5 : mse, adapter=auto",
    ),
}


class Traced(NamedTuple):
    """What a profile says of a step."""

    launches: float
    waits: float
    idle: float  # 0..1


def set_up_pair(name: str, size: int, batch: int, precision: str, device: str, way: str = "eager") -> Setup:
    """Teacher and student with random weights, four batches of random images on the device."""
    pair, patch = PAIRS[name], {"size": size, "patch": 16 if size > 64 else 4}
    text = (
        f"data: {{name: digits, image_size: {size}}}\nteacher: {pair.teacher.format(**patch)}\n"
        f'student: {pair.student.format(**patch)}\nsoft: {{temperature: 2}}\nlinks: ["{pair.link}"]\n'
        f"training: {{batch_size: {batch}, lr: 1.0e-4}}\nprecision: {precision}\ndevice: {device}\n"
        f"compile: {WAYS[way]}\n"
    )
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (4 * batch, 3, size, size), dtype=torch.uint8, generator=draw)
    part = ImageSet(pixels, torch.randint(0, 10, (len(pixels),), generator=draw), tuple("0123456789"))
    on_device, views = part.to(choose_device(device)), Views(size, (0.5,) * 3, (0.25,) * 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recipe.yaml")
        path.write_text(text)
        return set_up(load_recipe(str(path), []), images=Images(on_device, on_device, part, views, {}))


def stepping(setup: Setup) -> tuple[Learner, Callable[[], Any]]:
    """A student, and what makes a step of its training as the loop does."""

    def endless() -> Iterator[Batch]:
        for epoch in count():
            yield from setup.batches.epoch(epoch % setup.recipe.training.epochs)

    learner, batches = Learner(setup), endless()
    learner.start_epoch(0)
    if setup.recipe.compile is not False:
        ways = ModelCompiler([learner], setup.taught_by, (0, 0), warn=print).compile()[0]
        if "eager" in (ways.teacher, ways.student):
            sys.exit(f"what was to be compiled is run eagerly: teacher {ways.teacher}, student {ways.student}")

    def step() -> Tensor:
        batch = next(batches)
        return learner.step(batch, taught_for(setup.taught_by, [setup], batch)).total

    return learner, step


def traced(step: Callable[[], Any], device: torch.device) -> Traced | None:
    """What ten steps launch, and how much of their time the GPU has nothing to do; None where there is no GPU."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if device.type == "cuda" else []
    with torch.profiler.profile(activities=kinds) as profile:
        for _ in range(PROFILED):
            step()
        wait_for(device)
    events = list(profile.events() or [])
    ran = sorted((it.time_range.start, it.time_range.end) for it in events if it.device_type == DeviceType.CUDA)
    if not ran:
        return None
    waits = sum(it.name in WAITING for it in events) - 1  # ours, at the end
    return Traced(len(ran) / PROFILED, max(waits, 0) / PROFILED, idle_share(ran))


def idle_share(ran: list[tuple[float, float]]) -> float:
    """The share of time between the first start and the last end in which nothing ran.

    >>> idle_share([(0, 2), (1, 3), (7, 10)])
    0.4
    """
    busy, until = 0.0, ran[0][0]
    for start, end in ran:
        busy += max(end - max(start, until), 0)
        until = max(until, end)
    return 1 - busy / max(until - ran[0][0], 1e-9)


def measured(name: str, size: int, batch: int, precision: str, way: str, device: str) -> dict[str, Any]:
    """A row of the table."""
    setup = set_up_pair(name, size, batch, precision, device, way)
    rate = matrix_rate(setup.device, setup.precision)
    begun = time.monotonic()
    learner, step = stepping(setup)
    step()
    compiling = time.monotonic() - begun
    timing = measure(step, setup.device)
    learner.check_finite()
    image = next(setup.batches.epoch(0)).images[:1]
    assert setup.teacher is not None
    models = ((setup.teacher.model, 1), (setup.distiller.student, 3))
    flops = sum(times * count_flops(model, image, setup.arithmetic()) for model, times in models) * batch
    trace = traced(step, setup.device)
    return {
        "pair": name,
        "size": size,
        "batch": batch,
        "precision": setup.precision,
        "way": way,
        "seconds_to_first_step": compiling,
        "ms": timing.median,
        "quartiles": [timing.low, timing.high],
        "images_per_second": 1000 * batch / timing.median,
        "tflops": flops / timing.median / 1e9,
        "share": flops / (timing.median / 1000) / rate,
        "matrix_tflops": rate / 1e12,
        "launches": None if trace is None else trace.launches,
        "waits": None if trace is None else trace.waits,
        "idle": None if trace is None else trace.idle,
        "machine": processor_name(setup.device),
        "torch": torch.__version__,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    names = ("pair", "size", "batch", "precision", "run", "ms a step", "quartiles", "images/s", "of the matrix rate")
    lines = [
        f"| {' | '.join((*names, 'launches', 'waits', 'idle'))} |",
        "|---|---:|---:|---|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        low, high = row["quartiles"]
        launches, waits = (f"{row[key]:.0f}" if row[key] is not None else "-" for key in ("launches", "waits"))
        idle = "-" if row["idle"] is None else f"{100 * row['idle']:.0f} %"
        lines.append(
            f"| {row['pair']} | {row['size']} | {row['batch']} | {row['precision']} | {row['way']} "
            f"| {row['ms']:.2f} "
            f"| {low:.2f} to {high:.2f} | {row['images_per_second']:,.0f} "
            f"| {100 * row['share']:.0f} % of {row['matrix_tflops']:.1f} TFLOP/s | {launches} | {waits} | {idle} |"
        )
    machines = dict.fromkeys(f"{row['machine']}, torch {row['torch']}" for row in rows)
    return "\n".join([*lines, "", *machines])


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of the rows")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--precisions", nargs="+", default=["bfloat16"], help="float32, bfloat16, float16")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--batch", type=int, help="images; by default more of small ones")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no row after so long (exit code 3)")
    parser.add_argument("--against", action="store_true", help="first let loops by hand take turns at 224x224")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, small")
    given = parser.parse_args(words)
    if given.dry_run:
        given.device, given.sizes, given.batch = "cpu", [32], 2
        program.BACKEND = "aot_eager"  # programs are captured as for a GPU; making kernels takes a minute each
        given.ways = [way for way in given.ways if way != "graphs"]
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("this machine has no CUDA GPU; --dry-run tries the script")
    torch.backends.mha.set_fastpath_enabled(False)  # in it FLOPs cannot be counted; a link within turns it off anyway
    begun = time.monotonic()
    if given.against:
        training_speed.main(
            ["--size", "224", "--batch", "128", "--device", given.device, "--rounds", "5", "--steps", "10"]
        )
    rows, given.out = [], given.out / "dry-run" if given.dry_run else given.out
    given.out.mkdir(parents=True, exist_ok=True)
    rest = (given.pairs, given.precisions, given.ways)
    for size, name, precision, way in product(given.sizes, *rest):
        batch = given.batch or BATCH.get(size, 64)
        path = given.out / f"{name}-{size}-{batch}-{precision}-{way}.json"
        if not path.exists():
            if time.monotonic() - begun > given.seconds:
                print(table(rows), f"\nstopped after {given.seconds:g} s; the same command goes on")
                return 3
            row = measured(name, size, batch, precision, way, given.device)
            part = path.with_suffix(".part")
            part.write_text(json.dumps(row))
            part.replace(path)
        rows.append(json.loads(path.read_text()))
        print(f"{name} {size} {way}: {rows[-1]['ms']:.2f} ms", flush=True)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
