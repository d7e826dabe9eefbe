"""What a recipe costs before anything is trained: parameters, FLOPs, memory, time a step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from layerlink.data.examples import Inputs
from layerlink.lab.bench.adapters import adapter_passes
from layerlink.lab.run.learning.step import losses_of, taught_for
from layerlink.lab.run.setup.machine import free_memory
from layerlink.lab.run.setup.setup import Setup
from layerlink.measure.flops import count_flops, count_parameters
from layerlink.measure.timing import wait_for
from layerlink.taps.modes import untouched
from layerlink.teachers import SeveralTeachers

_REPEATS = 4
SHARE_OF_MEMORY = 0.7  # of what is free; the rest is for validation batches, checkpoints and other programs


@dataclass(frozen=True)
class Costs:
    """What a recipe would cost on this machine.

    Args:
        student_parameters: count.
        teacher_parameters: count; None without a teacher.
        student_flops: of one image's forward pass; a training step takes about three times as many.
        teacher_flops: the same of the teacher.
        student_bytes: its weights, gradients, optimiser state, averaged weights and best weights so far.
        shared_bytes: the teacher's weights, and the activations that one student's step keeps.
        teacher_seconds: measured: the teacher's pass over one batch; 0 where no term reads it.
        student_seconds: measured: the student's forward and backward pass over one batch.
        steps: of the whole training.
        link_parameters: of adapters and trained losses, which are trained with the student and are not part of it.
        adapter_seconds: measured: forward and backward pass of a link's adapters over one batch, by the link's text.
        peers_parameters: of the peers that learn beside the student; their time and memory are in those of the student.
    """

    student_parameters: int
    teacher_parameters: int | None
    student_flops: int
    teacher_flops: int | None
    student_bytes: int
    shared_bytes: int
    teacher_seconds: float
    student_seconds: float
    steps: int
    link_parameters: int = 0
    adapter_seconds: Mapping[str, float] = field(default_factory=dict)
    peers_parameters: int = 0

    @property
    def memory_bytes(self) -> int:
        """What training one student needs."""
        return self.student_bytes + self.shared_bytes

    @property
    def seconds_per_step(self) -> float:
        """Of one student alone."""
        return self.teacher_seconds + self.student_seconds


def measure_costs(setup: Setup) -> Costs:
    """Run one batch forward and backward, twice, and count. No weight is changed. Peers count to their student."""
    costs = _costs_of(setup)
    peers = [_costs_of(peer) for peer in setup.peers.values()]
    return replace(
        costs,
        student_bytes=sum(it.student_bytes for it in (costs, *peers)),
        shared_bytes=sum(it.shared_bytes for it in (costs, *peers)),
        student_seconds=sum(it.student_seconds for it in (costs, *peers)),
        peers_parameters=sum(it.student_parameters for it in peers),
    )


def _costs_of(setup: Setup) -> Costs:
    teacher = None
    if setup.taught_by is not None:
        teacher = nn.ModuleList(setup.taught_by.models())
    student = setup.distiller.student
    image = setup.images.seen(setup.images.train, slice(0, 1))
    kept, teacher_seconds, student_seconds = _one_step(setup)
    trained = count_parameters(student)
    states = 2 if setup.recipe.training.optimizer == "adamw" else int(setup.recipe.training.momentum > 0)
    own = sum(parameter.numel() for parameter in setup.distiller.link_parameters())
    floats = (trained + own) * (3 + states + (setup.recipe.training.ema is not None))
    teacher_bytes = 0 if teacher is None else sum(parameter.nbytes for parameter in teacher.parameters())
    return Costs(
        student_parameters=trained,
        teacher_parameters=None if teacher is None else count_parameters(teacher),
        student_flops=count_flops(student, image, setup.arithmetic()),
        teacher_flops=None if teacher is None else _teacher_flops(setup, image),
        student_bytes=4 * floats,
        shared_bytes=teacher_bytes + kept,
        teacher_seconds=teacher_seconds,
        student_seconds=student_seconds,
        steps=setup.recipe.training.epochs * len(setup.batches),
        link_parameters=own,
        adapter_seconds=_adapter_seconds(setup),
    )


def _teacher_flops(setup: Setup, image: Inputs) -> int:
    """Of all that teach, on what each sees of an image."""
    taught_by = setup.taught_by
    each = taught_by.teachers.values() if isinstance(taught_by, SeveralTeachers) else [taught_by]
    found = 0
    for observed in (getattr(teacher, "observed", None) for teacher in each):
        if observed is not None:
            found += count_flops(observed.model, observed.seen(image), setup.arithmetic())
    return found


def _adapter_seconds(setup: Setup) -> dict[str, float]:
    """Forward and backward pass of every link's adapters over one batch, the best of a few."""
    found = {}
    for name, work in adapter_passes(setup, next(setup.batches.epoch(0))).items():
        times = []
        with untouched(setup.distiller.whole_objective.parts[name].adapters):
            for _ in range(_REPEATS):
                start = _clock(setup)
                work()
                times.append(_clock(setup) - start)
        found[name] = min(times)
    setup.distiller.zero_grad()
    return found


def _one_step(setup: Setup) -> tuple[int, float, float]:
    """Bytes of the tensors that the backward pass needs; seconds of teacher and student once they are warm."""
    batch = next(setup.batches.epoch(0))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {parameter.untyped_storage().data_ptr() for parameter in setup.distiller.student.parameters()}
    times = [0.0, 0.0, 0.0]
    with untouched(setup.distiller.student), untouched(setup.distiller.parts), _scales_untouched(setup):
        for measured in (True, False):
            times[0] = _clock(setup)
            # Peers are asked apart from the step: in a training each gives what it gave in its own.
            teacher = setup.taught_by or setup.distiller.teacher
            taught = taught_for(teacher, [setup], batch)
            times[1] = _clock(setup)
            with torch.autograd.graph.saved_tensors_hooks(keep if measured else _same, _same):
                losses = losses_of(setup, batch, taught)
            losses.total.backward()  # type: ignore[no-untyped-call]
            times[2] = _clock(setup)
            setup.distiller.zero_grad()
    size = sum(size for place, size in kept.items() if place not in weights)
    return size, times[1] - times[0] if setup.taught_by is not None else 0.0, times[2] - times[1]


def students_that_fit(setup: Setup, costs: Costs | None = None) -> int:
    """How many students like this one the free memory holds beside one teacher; at least 1.

    Each keeps weights, gradients and optimiser; only one at a time keeps the activations of its step.
    """
    costs = costs or measure_costs(setup)
    free = free_memory(setup.device) * SHARE_OF_MEMORY - costs.shared_bytes
    return max(1, int(free / costs.student_bytes))


@contextmanager
def _scales_untouched(setup: Setup) -> Iterator[None]:
    scales = setup.distiller.scales
    state = scales.get_extra_state() if scales is not None else None
    try:
        yield
    finally:
        if scales is not None and state is not None:
            scales.set_extra_state(state)


def _clock(setup: Setup) -> float:
    """Seconds, when all that was asked of the device is done."""
    wait_for(setup.device)
    return time.perf_counter()


def _same(tensor: Tensor) -> Tensor:
    return tensor
