"""What a store of the likeliest tokens costs and loses: bytes a token, the others' mass, the KL beside that of all.

    python benchmarks/lm_topk.py RECIPE key=value ...

Of validation sequences of a recipe such as text/smollm2-reviews, at its temperature; the student is as it begins.
"""

from __future__ import annotations

import sys

import torch

from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.setup.setup import set_up
from layerlink.losses import kd
from layerlink.losses.outputs.topk_kl import topk_kl_of
from layerlink.teachers.topk import TopK

SEQUENCES = 8


def main() -> None:
    recipe, *changes = sys.argv[1:]
    setup = set_up(load_recipe(recipe, changes))
    soft, teacher = setup.recipe.soft, setup.teacher
    if soft is None or teacher is None:
        sys.exit("the recipe needs soft and a teacher")
    inputs = setup.images.seen(setup.images.validation, slice(0, SEQUENCES))
    with torch.no_grad():
        own, other = (it.logits(inputs)[:, :-1].float() for it in (setup.student, teacher))
        temperature = soft.temperature
        students = {"the student as it begins": own, "half way to the teacher": (own + other) / 2}
        full = {name: float(kd(it, other, temperature=temperature)) for name, it in students.items()}
        words, bytes_of_all = other.shape[-1], 4 * other.shape[-1]
        print(f"{other[..., 0].numel():,} tokens, {words:,} words, T {temperature:g}")
        print(f"\n| kept | bytes a token | mass of all others, mean | {' | '.join(f'KL, {name}' for name in full)} |")
        print(f"|---|---:|---:|{'---:|' * len(full)}")
        print(f"| all logits, float32 | {bytes_of_all:,} | | {' | '.join(f'{it:.4f}' for it in full.values())} |")
        for k in (8, 16, 64, 256, 1024):
            top = TopK(k, temperature)
            logs, chosen = top.unpack(top.pack(other))
            found = [float(topk_kl_of(it, logs, chosen, temperature=temperature)) for it in students.values()]
            off = (f"{it:.4f} ({100 * (it / of - 1):+.2f} %)" for it, of in zip(found, full.values(), strict=True))
            print(f"| top {k} | {top.nbytes:,} | {float(logs[..., -1].exp().mean()):.4f} | {' | '.join(off)} |")


if __name__ == "__main__":
    main()
