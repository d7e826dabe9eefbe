"""What losses between images and of tokens cost: milliseconds of a forward and backward pass, by the batch.

    OMP_NUM_THREADS=1 python benchmarks/relations.py

Of the processor's time of one thread, which other programs of a busy machine disturb less; median of rounds in which
all take turns. Features and maps as links between VGG-7's last groups have them; hidden states and attention
as of MiniLM (12 heads, 384 units, 64 tokens). float32: what links compute in whatever the models' arithmetic is.

Then `crd` of 64 examples of 64 features, by the size of its memory: products with all of it, and with copies of the
16,384 that are drawn for each.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from layerlink.losses import CRD
from layerlink.losses.relations import memory
from layerlink.losses.table import LOSSES

BATCHES = (8, 32, 128)
BETWEEN = {"rkd": (512,), "sp": (512, 2, 2), "pkt": (512,), "cka": (512,), "nst": (512, 4, 4), "mse": (512, 2, 2)}
TOKENS = {"hidden_mse": (64, 384), "minilm": (64, 384), "attention_mse": (12, 64, 64), "attention_kl": (12, 64, 64)}
ROUNDS = 5
MEMORIES = (10_000, 50_000, 131_072)  # examples
ALL, DRAWN = 1 << 30, 0  # examples a negative up to which all of the memory is taken


def passes(name: str, shape: tuple[int, ...]) -> Callable[[], None]:
    student, teacher = torch.randn(shape), torch.randn(shape)
    if name.startswith("attention"):
        student, teacher = student.softmax(-1), teacher.softmax(-1)
    student.requires_grad_()
    loss = LOSSES[name].make

    def work() -> None:
        student.grad = None
        loss(student, teacher).backward()

    return work


def memory_ways(examples: int) -> dict[int, list[float]]:
    """Milliseconds of a step of either way, in turns."""
    student, teacher = torch.randn(64, 64, requires_grad=True), torch.randn(64, 64)
    losses = {way: CRD((64, 64), (64, 64), train_size=examples) for way in (ALL, DRAWN)}
    times: dict[int, list[float]] = {way: [] for way in losses}
    for turn in range(ROUNDS + 1):
        for way, loss in losses.items():
            memory.WHOLE = way
            start = time.process_time()
            loss(student, teacher, indices=torch.arange(64)).backward()
            if turn:
                times[way].append(1000 * (time.process_time() - start))
    return times


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    works = {
        (name, batch): passes(name, (batch, *shape)) for name, shape in (BETWEEN | TOKENS).items() for batch in BATCHES
    }
    times: dict[tuple[str, int], list[float]] = {key: [] for key in works}
    for turn in range(ROUNDS + 1):
        for key, work in works.items():
            start = time.process_time()
            work()
            if turn:
                times[key].append(1000 * (time.process_time() - start))
    print(f"| loss | of an image or text | {' | '.join(f'batch {batch}' for batch in BATCHES)} |")
    print("|---|---|" + "---:|" * len(BATCHES))
    for name, shape in (BETWEEN | TOKENS).items():
        cells = [f"{statistics.median(times[name, batch]):.2f}" for batch in BATCHES]
        print(f"| {name} | {' x '.join(map(str, shape))} | {' | '.join(cells)} |")
    print("\n| crd, examples in its memory | all of it | the drawn alone |\n|---|---:|---:|")
    for examples in MEMORIES:
        ways = memory_ways(examples)
        print(f"| {examples:,} | {statistics.median(ways[ALL]):.0f} | {statistics.median(ways[DRAWN]):.0f} |")


if __name__ == "__main__":
    main()
