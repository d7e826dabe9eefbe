"""Guardrails: what goes wrong without breaking. Each finding has its number and the line to change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from layerlink.data import Examples
from layerlink.lab.run.learning.learner import DroppedError, Learner
from layerlink.lab.run.learning.optimisation import had_highest_lr
from layerlink.lab.run.meter import Meter
from layerlink.lab.run.reading.dead_layers import dead_layers
from layerlink.lab.run.reading.teacher_reading import teacher_findings
from layerlink.lab.run.setup.images import Images
from layerlink.lab.run.setup.setup import Setup
from layerlink.tasks import ACCURACY

DOMINATES = 1000.0  # times all other weighted terms together
FEWEST_STEPS = 8  # that a term must be the same in to be called constant


class StrictError(DroppedError):
    """A finding, in a recipe with ``strict: true``."""


@dataclass(frozen=True)
class Finding:
    """Something odd about an epoch.

    Args:
        kind: what it is about; an epoch later it is told again only in the run's own list.
        text: with its number, and what to change.
    """

    kind: str
    text: str


def findings_before(setup: Setup) -> Iterator[str]:
    """What is odd about a run before it begins."""
    yield from setup.warnings
    yield from teacher_findings(setup)
    images = setup.images
    for name, part in (("validation", images.validation), ("training", images.train)):
        count = copies(part, images.test)
        if count:
            points = 100 * count / len(images.test)
            better = "may be better than it should be"
            if setup.task.score == ACCURACY:
                better = f"may be too high by {points:.2f} points"
            yield (
                f"data: {count} of the {len(images.test):,} test {part.noun} are also among the {name} {part.noun}, "
                f"{part.exactly}, so the test {setup.task.score.words} {better}: take them out of data.root"
            )
    missing, one = _missing_classes(images) if setup.task.one_class else [], images.train.noun.removesuffix("s")
    if missing:
        yield (
            f"data: {len(missing)} of {len(images.train.classes)} classes have no training {one}: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}. Raise data.train_images"
        )


def copies(part: Examples, test: Examples) -> int:
    """How many of the ``test`` examples are exact copies of one of ``part``."""
    known = set(part.digests())
    return sum(digest in known for digest in test.digests())


def _missing_classes(images: Images) -> list[str]:
    labels = images.train.labels.cpu()
    counts = torch.bincount(labels[labels >= 0], minlength=len(images.train.classes))
    return [name for name, count in zip(images.train.classes, counts.tolist(), strict=True) if not count]


def findings_after_epoch(
    setup: Setup, learner: Learner, meter: Meter, *, epochs: int, score: float, before: float | None = None
) -> Iterator[Finding]:
    """What is odd about an epoch.

    Args:
        setup: of the run.
        learner: after the epoch.
        meter: its losses.
        epochs: done, with this one.
        score: the task's, on the validation images.
        before: the same after the epoch before; None where there was none.
    """
    # Chance while the learning rate rises is no fault, nor is a single dip at its height.
    if had_highest_lr(epochs, setup.recipe.training) and (before is None or _is_chance(setup, before)):
        yield from (Finding("chance", text) for text in _at_chance(setup, score))
    yield from _odd_links(learner, meter)
    dead = dead_layers(learner.model, setup)
    if dead:
        shares = ", ".join(f"{100 * zeros:.1f} % of {name}" for name, zeros in dead.items())
        yield Finding(
            "dead",
            f"dead layers: these activations are 0 on validation {setup.images.validation.noun}: {shares}. "
            "Lower the links' weights or training.lr, or set training.clip_norm=5",
        )


def _is_chance(setup: Setup, value: float) -> bool:
    return setup.task.chance_met(value, setup.images.validation.some_labels()) is not None


def _at_chance(setup: Setup, value: float) -> Iterator[str]:
    task, labels = setup.task, setup.images.validation.some_labels()
    chance, known = task.chance_met(value, labels), task.chance(labels)
    if chance is None or known is None:
        return
    said = f"validation {task.score.words} {task.score.show(value)} is no better than"
    noun = setup.images.validation.noun
    remedy = f"change training.lr, or look whether labels fit {noun}"
    if task.score == ACCURACY:
        yield f"{said} chance ({chance:.1f} % of the {noun} are of the commonest class, sd {known[1]:.1f}): {remedy}"
    else:
        yield f"{said} what can be reached without looking at the {noun} ({task.score.show(chance)}): {remedy}"


def _odd_links(learner: Learner, meter: Meter) -> Iterator[Finding]:
    means, weights = meter.means(), meter.weights
    weighted = {name: abs(means[name] * weight) for name, weight in weights.items() if name in means}
    total = sum(weighted.values())
    for name in (link.text for link in learner.distiller.whole_objective.links if link.text in weighted):
        others = total - weighted[name]
        if others > 0 and weighted[name] > DOMINATES * others:
            yield Finding(
                f"{name} dominates",
                f"link {name!r} is {weighted[name] / others:,.0f} times all other weighted losses together "
                f"({weighted[name]:.3g} to {others:.3g}): lower its weight, or set link_scale: teacher",
            )
        if weights[name] and meter.steps >= FEWEST_STEPS and meter.spread(name) == 0:
            yield Finding(
                f"{name} constant",
                f"link {name!r} was {means[name]:.4g} in all of {meter.steps} steps, so it teaches nothing: link "
                "other layers, or leave it out",
            )
