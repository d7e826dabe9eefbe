"""What dominates a training step, and what to change. Sentences made from measurements and a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterator

from layerlink.data.stream.images import StreamedImages, pixel_bytes
from layerlink.lab.bench.speed import Speed
from layerlink.lab.run.setup.machine import choose_precision
from layerlink.lab.run.setup.setup import Setup

_MUCH = 0.25  # of a step
_SOME = 0.1
_NEAR_PEAK = 0.6  # of the matrix rate
_CALM = 1.5  # third quartile of a step over its first, at most


def advice(speed: Speed, setup: Setup) -> list[str]:
    """What dominates first, then what to change, the most useful first."""
    total = sum(part.timing.median for part in speed.parts if part.within is None)
    shares = {part.name: part.timing.median / total for part in speed.parts}
    first = max((part.name for part in speed.parts if part.within is None), key=lambda name: shares[name])
    return [f"{first} takes {100 * shares[first]:.0f} % of the time.", *_changes(speed, setup, shares)]


def _changes(speed: Speed, setup: Setup, shares: dict[str, float]) -> Iterator[str]:
    recipe = setup.recipe
    if speed.step.high > _CALM * speed.step.low:
        yield (
            f"A step took {speed.step.low:.0f} to {speed.step.high:.0f} ms. Something else seems to run on this "
            "machine: measure again when it is idle."
        )
    if setup.precision == "float32" and choose_precision("auto", setup.device) == "bfloat16":
        yield "This machine multiplies bfloat16 faster: precision=auto."
    if shares["data"] > _MUCH and isinstance(setup.images.train, StreamedImages):
        parts = (setup.images.train, setup.images.validation, setup.images.test)
        room = pixel_bytes(sum(map(len, parts)), recipe.data.image_size)
        workers, gigabytes = setup.images.train.pixels.workers, math.ceil(room / 1e8) / 10
        yield (
            f"Images are read from disk batch by batch (data.workers={workers}): more workers where there are cores "
            f"for them, a smaller data.image_size, or data.memory_gb={gigabytes:g}, which holds all of them in memory."
        )
    elif shares["data"] > _MUCH:
        yield "Cutting and scaling images is slow beside the models: data.augment=none, or a smaller data.image_size."
    if shares.get("teacher", 0) > _MUCH and recipe.teacher is not None and recipe.teacher.store is None:
        what = "logits" if recipe.data.augment != "none" or recipe.data.more else "logits and linked layers"
        yield (
            f"The teacher gives the same in every epoch: teacher.store=auto keeps its {what} on disk; a sweep sends "
            "each batch through it once for all students."
        )
    yield from _links(speed, setup, shares)
    for part in speed.parts:
        share = speed.share(part)
        if share is not None and share < _NEAR_PEAK and shares[part.name] > _MUCH:
            yield (
                f"The {part.name} reaches {100 * share:.0f} % of the matrix rate: its layers are small for this "
                "machine. A larger training.batch_size may help."
            )


def _links(speed: Speed, setup: Setup, shares: dict[str, float]) -> Iterator[str]:
    """Of the links that take much: why, and what to change."""
    objective, batch = setup.distiller.whole_objective, speed.batch
    adapters = {part.within: shares[part.name] for part in speed.parts if part.within is not None}
    heavy = [link.text for link in objective.links if shares.get(link.text, 0) > _SOME]
    adapted = [name for name in heavy if adapters.get(name, 0) > shares[name] / 2]
    rest = [name for name in heavy if name not in adapted]
    between = [name for name in rest if objective.parts[name].kind.between_images]
    maps = [name for name in rest if name not in between]
    if adapted:
        yield (
            f"Most of {', '.join(adapted)} is its adapter: link layers with fewer channels or pixels, or let the "
            "link end with until=EPOCHS."
        )
    if between:
        yield (
            f"{', '.join(between)} compares each example with every other, {batch * batch:,} pairs: a smaller "
            "training.batch_size makes a step cheaper by its square."
        )
    if maps:
        yield f"Links over large maps are dear: {', '.join(maps)}. Link deeper layers, or set until=EPOCHS."
