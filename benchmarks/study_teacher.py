#!/usr/bin/env python3
"""Round a finished teacher's weights: small enough for a repository, and all students are taught by what is left.

    python benchmarks/study_teacher.py ~/layerlink-runs/study/strong/teacher     # before its first student

The first time it makes rounded.safetensors.xz, which study_keep.py keeps; where that is (on another machine), it takes
the weights from it. Either way student.safetensors holds the rounded weights then, so that all students have one
teacher, wherever they are trained; their results say what it scores (teacher_test_accuracy).

The format: safetensors within xz; a weight of two or more axes as int8 under its name, with float32 steps, one an
output channel, under NAME.step; all else as it was.
"""

from __future__ import annotations

import lzma
import sys
from pathlib import Path

import safetensors.torch
import torch
from study_keep import ROUNDED
from torch import Tensor

from layerlink.files.weights import STUDENT

STEPS = 8  # a standard deviation of a channel's weights


def rounded(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every weight as whole steps, and the steps: an eighth of its channel's standard deviation, which adds noise of
    3.6 % of it (1 / (8 sqrt 12)) and leaves 5.05 bits a weight where they are normal (log2(8 sqrt(2 pi e)))."""
    out = {}
    for name, weight in weights.items():
        if weight.ndim < 2 or not weight.is_floating_point():
            out[name] = weight
            continue
        channels = weight.float().flatten(1)
        step = torch.maximum(channels.std(1, correction=0) / STEPS, channels.abs().amax(1) / 127)  # nothing is cut off
        step[step == 0] = 1
        out[name] = (channels / step[:, None]).round().to(torch.int8).view_as(weight)
        out[f"{name}.step"] = step
    return out


def opened(small: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that ``rounded`` left, float32."""
    steps = {name.removesuffix(".step"): step for name, step in small.items() if name.endswith(".step")}
    return {
        name: value.float() * steps[name].view(-1, *[1] * (value.ndim - 1)) if name in steps else value
        for name, value in small.items()
        if name.removesuffix(".step") == name
    }


def main(folder: Path) -> None:
    """Let the finished run in ``folder`` have rounded weights, those of its file, which is made where it is missing."""
    weights, small = folder / STUDENT, folder / ROUNDED
    if not small.exists():
        if not weights.exists():
            sys.exit(f"{weights} is missing: {folder} holds no finished run")
        whole(small, lzma.compress(safetensors.torch.save(rounded(safetensors.torch.load_file(weights))), preset=9))
        print(f"{small}: {small.stat().st_size / 1e6:.1f} MB of {weights.stat().st_size / 1e6:.1f}")
    whole(weights, safetensors.torch.save(opened(safetensors.torch.load(lzma.decompress(small.read_bytes())))))


def whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
