"""What dominates a training step, and what to change. Sentences made from measurements and a recipe."""

from __future__ import annotations

from collections.abc import Iterator

from layerlink.lab.bench.speed import Speed
from layerlink.lab.run.setup.machine import choose_precision
from layerlink.lab.run.setup.setup import Setup

_MUCH = 0.25  # of a step
_SOME = 0.1
_NEAR_PEAK = 0.6  # of the matrix rate
_CALM = 1.5  # third quartile of a step over its first, at most


def advice(speed: Speed, setup: Setup) -> list[str]:
    """What dominates first, then what to change, the most useful first."""
    total = sum(part.timing.median for part in speed.parts)
    shares = {part.name: part.timing.median / total for part in speed.parts}
    first = max(shares, key=lambda name: shares[name])
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
    if shares["data"] > _MUCH:
        yield "Cutting and scaling images is slow beside the models: data.augment=none, or a smaller data.image_size."
    if shares.get("teacher", 0) > _MUCH and recipe.teacher is not None and recipe.teacher.store is None:
        what = "logits" if recipe.data.augment != "none" or recipe.data.more else "logits and linked layers"
        yield (
            f"The teacher gives the same in every epoch: teacher.store=auto keeps its {what} on disk; a sweep sends "
            "each batch through it once for all students."
        )
    links = {link.text for link in setup.distiller.whole_objective.links}
    heavy = [part.name for part in speed.parts if part.name in links and shares[part.name] > _SOME]
    if heavy:
        yield f"Links over large maps are dear: {', '.join(heavy)}. Link deeper layers, or set until=EPOCHS."
    for part in speed.parts:
        share = speed.share(part)
        if share is not None and share < _NEAR_PEAK and shares[part.name] > _MUCH:
            yield (
                f"The {part.name} reaches {100 * share:.0f} % of the matrix rate: its layers are small for this "
                "machine. A larger training.batch_size may help."
            )
