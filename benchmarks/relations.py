"""What losses between images and of tokens cost: milliseconds of a forward and backward pass, by the batch.

    OMP_NUM_THREADS=1 python benchmarks/relations.py

Of the processor's time of one thread, which other programs of a busy machine disturb less; median of rounds in which
all take turns. Features and maps as links between VGG-7's last groups have them; hidden states and attention
as of MiniLM (12 heads, 384 units, 64 tokens). float32: what links compute in whatever the models' arithmetic is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from layerlink.losses.table import LOSSES

BATCHES = (8, 32, 128)
BETWEEN = {"rkd": (512,), "sp": (512, 2, 2), "pkt": (512,), "cka": (512,), "mse": (512, 2, 2)}
TOKENS = {"hidden_mse": (64, 384), "minilm": (64, 384), "attention_mse": (12, 64, 64), "attention_kl": (12, 64, 64)}
ROUNDS = 5


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


if __name__ == "__main__":
    main()
