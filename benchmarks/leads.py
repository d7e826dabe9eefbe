"""Three leads towards a faster step on a CPU, each against what is done today.

    python benchmarks/leads.py --rounds 9

- flat: SGD and AdamW of VGG-7's weights as they are, and over one flat buffer of all of them;
- cache: a step of VGG-7 over 128 images whole, and in pieces whose activations stay nearer to the processor; of four
  students one after the other, each with the whole batch, or all with a piece before the next piece;
- fused: a convolution and its ReLU as two operators (in place), and as oneDNN's one with a backward pass of our own,
  layer by layer.

bfloat16 arithmetic, channels last, random images. The cases of a lead take turns; given are the medians in milliseconds
and the ratio tried / as it is within a round: minimum, median, maximum.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layerlink.cli.process.memory import keep_freed_memory
from layerlink.lab.run.setup.fast_paths import make_fast
from layerlink.lab.run.setup.machine import processor_name
from layerlink.models import build_model

BATCH, STUDENTS, PIECES = 128, 4, (64, 32, 16)
# Of VGG-7: channels in and out, pixels a side.
LAYERS = ((3, 64, 32), (64, 128, 16), (128, 256, 8), (256, 512, 4))
Work = Callable[[], object]


def student() -> nn.Module:
    model = build_model("vgg7", num_classes=10, image_size=32, channels=3).to(memory_format=torch.channels_last)
    make_fast(model, torch.device("cpu"))
    return model


def pictures() -> tuple[Tensor, Tensor]:
    return torch.randn(BATCH, 3, 32, 32).to(memory_format=torch.channels_last), torch.randint(0, 10, (BATCH,))


def flat() -> dict[str, tuple[Work, Work]]:
    """One flat buffer has one kernel where there were twelve: what it could save is what lies between kernels."""
    weights = [it.detach().clone() for it in student().parameters()]
    found: dict[str, tuple[Work, Work]] = {}
    makers: dict[str, Callable[[list[Tensor]], Any]] = {
        "SGD, momentum": lambda held: torch.optim.SGD(held, lr=1e-3, momentum=0.9, fused=True),
        "AdamW": lambda held: torch.optim.AdamW(held, lr=1e-3, fused=True),
    }
    for name, make in makers.items():
        works = []
        for held in ([it.clone() for it in weights], [torch.cat([it.flatten() for it in weights])]):
            for it in held:
                it.requires_grad_().grad = torch.randn_like(it)
            works.append(make(held).step)
        found[f"flat: {name}, {sum(it.numel() for it in weights):,} weights"] = works[0], works[1]
    return found


def pass_over(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    (F.cross_entropy(logits.float(), labels, reduction="sum") / BATCH).backward()


def cache() -> dict[str, tuple[Work, Work]]:
    """Gradients of pieces add up to those of the batch."""
    images, labels = pictures()
    models = [student() for _ in range(STUDENTS)]

    def students(which: list[nn.Module], piece: int) -> Work:
        def work() -> None:
            for model in which:
                model.zero_grad()
            for part, told in zip(images.split(piece), labels.split(piece), strict=True):
                for model in which:
                    pass_over(model, part, told)

        return work

    found = {
        f"cache: one student, pieces of {piece}": (students(models[:1], BATCH), students(models[:1], piece))
        for piece in PIECES
    }
    for piece in PIECES[:2]:
        found[f"cache: {STUDENTS} students, pieces of {piece}"] = students(models, BATCH), students(models, piece)
    return found


class ConvolutionReLU(torch.autograd.Function):
    """3x3 with padding 1; the output tells where ReLU let values through."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        low = [it.to(torch.bfloat16) for it in (images, weight, bias)]
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(*low, [1, 1], [1, 1], [1, 1], 1, "relu", [], "")
        ctx.save_for_backward(low[0], low[1], output)
        return output

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, output = ctx.saved_tensors
        slope = torch.ops.aten.threshold_backward(slope, output, 0)
        asked = [*ctx.needs_input_grad[:2], True]
        found = torch.ops.aten.convolution_backward(
            slope, images, weight, [len(weight)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, asked
        )
        return tuple(None if it is None else it.float() if index else it for index, it in enumerate(found))


def fused() -> dict[str, tuple[Work, Work]]:
    found: dict[str, tuple[Work, Work]] = {}
    for channels, outputs, side in LAYERS:
        images = torch.randn(BATCH, channels, side, side, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
        images.requires_grad_(channels > 3)
        layer = nn.Conv2d(channels, outputs, 3, padding=1).to(memory_format=torch.channels_last)
        slope = torch.randn(BATCH, outputs, side, side, dtype=torch.bfloat16).to(memory_format=torch.channels_last)

        def as_it_is(images: Tensor = images, layer: nn.Conv2d = layer, slope: Tensor = slope) -> None:
            with torch.autocast("cpu", torch.bfloat16):
                F.relu(layer(images), inplace=True).backward(slope)

        def tried(images: Tensor = images, layer: nn.Conv2d = layer, slope: Tensor = slope) -> None:
            ConvolutionReLU.apply(images, layer.weight, layer.bias).backward(slope)

        require_equal(as_it_is, tried, layer)
        found[f"fused: {channels} to {outputs} channels, {side}x{side}"] = as_it_is, tried
    return found


def require_equal(one: Work, other: Work, layer: nn.Conv2d) -> None:
    """What is fast and wrong is no lead."""
    slopes = []
    for work in (one, other):
        layer.zero_grad()
        work()
        slopes.append([it.grad.clone() for it in layer.parameters() if it.grad is not None])
    for as_it_is, tried in zip(*slopes, strict=True):
        torch.testing.assert_close(tried, as_it_is, rtol=2e-2, atol=2e-2 * float(as_it_is.abs().max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    print(f"{processor_name(torch.device('cpu'))}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| lead | as it is, ms | tried, ms | tried / as it is |\n|---|---:|---:|---|")
    for lead in (flat, cache, fused):
        for name, pair in lead().items():
            times: list[list[float]] = [[], []]
            for turn in range(asked.rounds + 1):
                for of, work in zip(times, pair, strict=True):
                    start = time.perf_counter()
                    work()
                    if turn:
                        of.append(1000 * (time.perf_counter() - start))
            ratios = sorted(tried / now for now, tried in zip(*times, strict=True))
            spread = f"{ratios[0]:.2f} / **{statistics.median(ratios):.2f}** / {ratios[-1]:.2f}"
            print(f"| {name} | {statistics.median(times[0]):.2f} | {statistics.median(times[1]):.2f} | {spread} |")


if __name__ == "__main__":
    main()
