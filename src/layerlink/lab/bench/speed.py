"""Where the time of a training step goes, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from layerlink.config.image_size import ImageSize, sides
from layerlink.data import Batch, ImageSet, Views
from layerlink.data.examples import first
from layerlink.lab.bench.adapters import adapter_passes
from layerlink.lab.recipe.file import load_recipe
from layerlink.lab.run.compiled.compiling import ModelCompiler
from layerlink.lab.run.learning.learner import Learner
from layerlink.lab.run.learning.mutual import learner_of
from layerlink.lab.run.learning.step import taught_for
from layerlink.lab.run.setup.fast_paths import keep_cast_weights, make_fast
from layerlink.lab.run.setup.images import Images
from layerlink.lab.run.setup.machine import choose_device, choose_precision
from layerlink.lab.run.setup.setup import Setup, set_up
from layerlink.measure.flops import count_flops
from layerlink.measure.timing import Timing, measure
from layerlink.models import build_model
from layerlink.taps import OUTPUT, Activations
from layerlink.taps.observed import DTYPES, Precision
from layerlink.transfer import Objective

RECIPE = "study/vgg7-links"  # what is measured where no recipe is given
_BATCHES = 4  # of random images
_SIDE = {"cpu": 2048, "cuda": 8192, "mps": 4096}  # of the matrices


@dataclass(frozen=True)
class Part:
    """One part of a step.

    Args:
        name: "data", "teacher", "student", "labels", "soft", a link's text, "adapter of" one, or "optimiser".
        timing: of a whole batch.
        flops: of a whole batch, by the models' definition; None where it is not matrix work.
        within: the part that this one is a part of, such as a link of its adapter; None: of the step.
    """

    name: str
    timing: Timing
    flops: float | None = None
    within: str | None = None


@dataclass(frozen=True)
class Speed:
    """What was measured.

    Args:
        batch: images in a batch.
        matrix_rate: FLOP/s of a large matrix product in the run's arithmetic.
        parts: each measured alone.
        step: all of them together, as they are trained.
        notes: how models are run, where the recipe compiles them.
    """

    batch: int
    matrix_rate: float
    parts: tuple[Part, ...]
    step: Timing
    notes: tuple[str, ...] = ()

    def share(self, part: Part) -> float | None:
        """Of the matrix rate, 0..1 (above 1 where a fast path saves FLOPs of the definition)."""
        return None if part.flops is None else part.flops / (part.timing.median / 1000) / self.matrix_rate


def set_up_random(overrides: list[str]) -> Setup:
    """The study's best row, on random images with a random teacher, which cost the same as real ones.

    Raises:
        ProblemsError: everything that is wrong with the overrides.
    """
    loaded = load_recipe(RECIPE, overrides)
    recipe = loaded.recipe
    size, count = recipe.data.image_size, _BATCHES * recipe.training.batch_size
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, *sides(size)), dtype=torch.uint8, generator=draw)
    part = ImageSet(pixels, torch.randint(0, 10, (count,), generator=draw), tuple("0123456789"))
    data = recipe.data
    views = Views(size, (0.5,) * 3, (0.25,) * 3, data.augment, recipe.seed, data.crop_padding, None, data.more)
    device = choose_device(recipe.device)
    images = Images(part.to(device), part.to(device), part, views, {})
    if recipe.teacher is None:
        return set_up(loaded, images=images)
    return set_up(
        loaded, teacher=random_teacher(size, device, choose_precision(recipe.precision, device)), images=images
    )


def random_teacher(size: ImageSize, device: torch.device, precision: Precision) -> nn.Module:
    """VGG-16 with random weights, as fast as ``set_up`` makes a trained one."""
    teacher = build_model("vgg16", num_classes=10, image_size=size, channels=3).requires_grad_(False).to(device)
    teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    make_fast(teacher, device, frozen=True)
    keep_cast_weights(teacher, precision, torch.zeros(2, 3, *sides(size), device=device))
    return teacher


def measure_speed(setup: Setup, tell: Callable[[str], None] = lambda text: None) -> Speed:
    """Time every part of a step, then the whole. The student learns nothing: its learning rate is 0.

    Args:
        setup: what to measure; a stored teacher is measured live.
        tell: is told what is measured next.
    """
    batches = _endless(setup)
    batch = next(batches)
    setup.distiller.compare_whole()  # each loss is measured by itself
    teacher = setup.taught_by if setup.distiller.objective.needs_teacher else None
    learner = learner_of(setup)
    _learn_nothing(learner)
    learner.start_epoch(0)
    taught: list[Activations | None] = [None]
    notes: list[str] = []
    if setup.recipe.compile is not False:
        tell("the compiler")
        ways = ModelCompiler([learner], teacher, (0, 0), notes.append, notes.append).compile()[0]
        notes.append(f"run: teacher {ways.teacher}, student {ways.student}")

    def teach() -> None:
        taught[0] = taught_for(teacher or setup.distiller.teacher, [setup], batch)

    def step() -> None:
        fresh = replace(next(batches), epoch=0, step=0)  # links that end or fade are measured at the start
        learner.step(fresh, taught_for(teacher, [setup], fresh))

    parts = []
    models: tuple[tuple[str, Callable[[], Any], float | None], ...] = (
        ("data", lambda: next(batches), None),
        *([("teacher", teach, _teacher_flops(setup, batch))] if teacher is not None else []),
        *((f"peer {name}", partial(_study, it, batch), _student_flops(it, batch)) for name, it in setup.peers.items()),
        ("student", lambda: _study(setup, batch), _student_flops(setup, batch)),
    )
    for name, work, flops in models:
        tell(name)
        parts.append(Part(name, measure(work, setup.device), flops))
    teach()
    adapting = adapter_passes(setup, batch)
    for name, term in _terms(setup, batch, taught[0]).items():
        tell(name)
        parts.append(Part(name, measure(term, setup.device)))
        if name in adapting:
            parts.append(Part(f"adapter of {name}", measure(adapting[name], setup.device), within=name))
    tell("optimiser")
    _study(setup, batch)
    parts.append(Part("optimiser", measure(learner.update, setup.device)))
    tell("the whole step")
    whole = measure(step, setup.device)
    return Speed(len(batch.labels), matrix_rate(setup.device, setup.precision), tuple(parts), whole, tuple(notes))


def _learn_nothing(learner: Learner) -> None:
    """Set every learning rate to 0, now and at any time."""
    for each in (learner, *learner.peers.values()):
        each.schedule.base_lrs = [0.0 for _ in each.schedule.base_lrs]
        for group in each.optimizer.param_groups:
            group["lr"] = 0.0


def matrix_rate(device: torch.device, precision: Precision) -> float:
    """FLOP/s of a square matrix product: what the device can do at most, near enough."""
    side, dtype = _SIDE.get(device.type, 2048), DTYPES[precision]
    first, second = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / (measure(lambda: first @ second, device).low / 1000)


def _endless(setup: Setup) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from setup.batches.epoch(epoch)
        epoch += 1


def _flops(setup: Setup, model: Any, batch: Batch) -> float:
    return float(count_flops(model, first(batch.images, 1), setup.arithmetic()) * len(batch.labels))


def _student_flops(setup: Setup, batch: Batch) -> float:
    """Of the forward and the backward pass."""
    return 3.0 * _flops(setup, setup.distiller.student, batch)


def _teacher_flops(setup: Setup, batch: Batch) -> float | None:
    """Of the whole teacher; None where it runs only a part of itself, or is no module."""
    whole = setup.teacher is not None and OUTPUT in setup.distiller.wanted
    return _flops(setup, setup.teacher.model, batch) if whole and setup.teacher is not None else None


def _study(setup: Setup, batch: Batch) -> None:
    """The student's forward and backward pass, from the labels' loss."""
    setup.distiller.zero_grad()
    with setup.arithmetic():
        studied = setup.distiller.study(batch.images)
        if studied.logits is not None and studied.logits.requires_grad:
            mask = setup.task.positions(studied.logits, batch.labels, None)
            setup.task.hard(studied.logits, batch.labels, mask=mask).backward()  # type: ignore[no-untyped-call]
        else:  # links alone
            torch.stack([value.float().mean() for value in studied.taps.values()]).sum().backward()  # type: ignore[no-untyped-call]


def _terms(setup: Setup, batch: Batch, taught: Activations | None) -> dict[str, Callable[[], None]]:
    """Each loss's forward and backward pass, from activations on."""
    with torch.no_grad(), setup.arithmetic():
        student = setup.distiller.study(batch.images)
    whole, single = setup.distiller.objective, {}
    if whole.labels.weight:
        single["labels"] = Objective(
            replace(whole.labels, weight=1.0), label_smoothing=whole.label_smoothing, task=whole.task
        )
    if whole.soft is not None:
        single["soft"] = Objective(0.0, replace(whole.soft, weight=1.0), task=whole.task)
    single |= {link.text: Objective(0.0, None, (replace(link, weight=1.0),), parts=whole.parts) for link in whole.links}
    learnt = Activations(
        None if student.logits is None else student.logits.detach().requires_grad_(),
        {tap: value.detach().requires_grad_() for tap, value in student.taps.items()},
    )

    def work(objective: Objective) -> None:
        for leaf in (learnt.logits, *learnt.taps.values()):
            if leaf is not None:
                leaf.grad = None
        with setup.arithmetic():
            objective(learnt, taught, batch.labels).total.backward()  # type: ignore[no-untyped-call]

    return {name: partial(work, objective) for name, objective in single.items()}
