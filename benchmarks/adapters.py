"""What adapters cost: parameters, and milliseconds of a forward and backward pass over a batch.

    python benchmarks/adapters.py

Shapes that links between real networks meet. bfloat16 arithmetic where the machine multiplies it fast, as in a run.
"""

from __future__ import annotations

import torch

from layerlink.adapters import fit
from layerlink.lab.run.setup.machine import choose_precision, processor_name
from layerlink.measure.timing import measure
from layerlink.taps.observed import arithmetic

CPU = torch.device("cpu")
SHAPES = (
    ("VGG-7 group1 -> ResNet-56 layer1", (128, 64, 32, 32), (128, 16, 32, 32)),
    ("VGG-7 group2 -> ResNet-56 layer2", (128, 128, 16, 16), (128, 32, 16, 16)),
    ("VGG-7 group3 -> ResNet-56 layer3", (128, 256, 8, 8), (128, 64, 8, 8)),
    ("ResNet-18 layer3 -> ResNet-50 layer3", (64, 256, 14, 14), (64, 1024, 14, 14)),
    ("a larger map -> a smaller one", (64, 64, 16, 16), (64, 256, 8, 8)),
    ("DeiT-tiny -> a map of a CNN", (64, 197, 192), (64, 384, 14, 14)),
    ("hidden states 384 -> 768", (32, 128, 384), (32, 128, 768)),
)


def main() -> None:
    precision = choose_precision("auto", CPU)
    print(f"{processor_name(CPU)}, {torch.get_num_threads()} threads, {precision}, torch {torch.__version__}\n")
    print("| from student to teacher | adapter | parameters | ms a step: median | quartiles |")
    print("|---|---|---:|---:|---:|")
    for name, student, teacher in SHAPES:
        adapter = fit(student, teacher)
        layout = torch.channels_last if len(student) == 4 else torch.contiguous_format
        adapter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # As a run has them: activations in the products' precision.
        inputs = torch.randn(student, dtype=getattr(torch, precision)).to(memory_format=layout).requires_grad_()

        def step(adapter: torch.nn.Module = adapter, inputs: torch.Tensor = inputs) -> None:
            with arithmetic(CPU, precision):
                outputs = adapter(inputs)
            outputs.backward(torch.ones_like(outputs))

        timing = measure(step, CPU)
        count = sum(parameter.numel() for parameter in adapter.parameters())
        quartiles = f"{timing.low:.2f} to {timing.high:.2f}"
        print(f"| {name} | {adapter.words} | {count:,} | {timing.median:.2f} | {quartiles} |")


if __name__ == "__main__":
    main()
