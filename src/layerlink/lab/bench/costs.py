"""What models cost, before anything is trained: layers, parameters, FLOPs, memory, time per step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from layerlink.lab.run.evaluation import evaluating
from layerlink.lab.run.setup.setup import Setup
from layerlink.models.tiny_maps import plain_convolutions
from layerlink.taps.tap import call_model
from layerlink.transfer import LiveTeacher
from layerlink.transfer.inspection import untouched


@dataclass(frozen=True)
class Layer:
    """What can be tapped.

    Args:
        path: the module's path.
        kind: its class.
        shapes: of its output, one text a call; "dict[...]" and the like where it is no tensor.
        parameters: of the module and all below it.
    """

    path: str
    kind: str
    shapes: tuple[str, ...]
    parameters: int


def list_layers(model: nn.Module, inputs: Any) -> list[Layer]:
    """Every module of ``model`` that runs on ``inputs``, in order of its first output's place in the tree.

    Args:
        model: any module; left as it was.
        inputs: a tensor, a tuple (positional) or a mapping (keyword arguments).
    """
    shapes: dict[str, list[str]] = {name: [] for name, _ in model.named_modules() if name}
    handles = [
        module.register_forward_hook(
            lambda _module, _args, output, name=name: shapes[name].append(describe_value(output))
        )
        for name, module in model.named_modules()
        if name
    ]
    try:
        with untouched(model), evaluating(model):
            call_model(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [
        Layer(name, type(module).__name__, tuple(shapes[name]), count_parameters(module))
        for name, module in model.named_modules()
        if name
    ]


def describe_value(value: Any) -> str:
    """The shape of a tensor, or what a tuple, list or mapping holds."""
    if isinstance(value, Tensor):
        return f"({', '.join(['N', *map(str, value.shape[1:])])})" if value.ndim else "()"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {describe_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(describe_value(item) for item in value) + "]"
    return type(value).__name__


def count_parameters(model: nn.Module) -> int:
    """Parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_flops(model: nn.Module, inputs: Any, arithmetic: AbstractContextManager[Any] | None = None) -> int:
    """Floating-point operations of one forward pass on ``inputs``; a multiplication and an addition are two.

    Those of the model's definition: what a fast path saves is not taken off.

    Args:
        model: any module; left as it was.
        inputs: a tensor, a tuple (positional) or a mapping (keyword arguments).
        arithmetic: the context to run in.
    """
    with untouched(model), evaluating(model), plain_convolutions(), arithmetic or nullcontext():
        counter = FlopCounterMode(display=False)
        with counter:
            call_model(model, inputs)
    return int(counter.get_total_flops())


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

    @property
    def memory_bytes(self) -> int:
        """What training one student needs."""
        return self.student_bytes + self.shared_bytes

    @property
    def seconds_per_step(self) -> float:
        """Of one student alone."""
        return self.teacher_seconds + self.student_seconds


def measure_costs(setup: Setup) -> Costs:
    """Run one batch forward and backward, twice, and count. No weight is changed."""
    teacher = setup.distiller.teacher.model if isinstance(setup.distiller.teacher, LiveTeacher) else None
    student = setup.distiller.student
    image = setup.images.views(setup.images.train.images[:1])
    kept, teacher_seconds, student_seconds = _one_step(setup)
    trained = count_parameters(student)
    states = 2 if setup.recipe.training.optimizer == "adamw" else int(setup.recipe.training.momentum > 0)
    floats = trained * (3 + states + (setup.recipe.training.ema is not None))
    teacher_bytes = 0 if teacher is None else sum(parameter.nbytes for parameter in teacher.parameters())
    return Costs(
        student_parameters=trained,
        teacher_parameters=None if teacher is None else count_parameters(teacher),
        student_flops=count_flops(student, image, setup.arithmetic()),
        teacher_flops=None if teacher is None else count_flops(teacher, image, setup.arithmetic()),
        student_bytes=4 * floats,
        shared_bytes=teacher_bytes + kept,
        teacher_seconds=teacher_seconds,
        student_seconds=student_seconds,
        steps=setup.recipe.training.epochs * len(setup.batches),
    )


def _one_step(setup: Setup) -> tuple[int, float, float]:
    """Bytes of the tensors that the backward pass needs; seconds of teacher and student once they are warm."""
    batch = next(setup.batches.epoch(0))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {parameter.untyped_storage().data_ptr() for parameter in setup.distiller.student.parameters()}
    teacher, times = setup.distiller.teacher, [0.0, 0.0, 0.0]
    with untouched(setup.distiller.student), _scales_untouched(setup):
        for measured in (True, False):
            times[0] = _clock(setup)
            with setup.arithmetic():
                needed = teacher is not None and setup.distiller.objective.needs_teacher
                taught = teacher(batch.images) if teacher is not None and needed else None
            times[1] = _clock(setup)
            with torch.autograd.graph.saved_tensors_hooks(keep if measured else _same, _same), setup.arithmetic():
                losses = setup.distiller(batch.images, batch.labels, taught=taught)
            losses.total.backward()
            times[2] = _clock(setup)
            setup.distiller.zero_grad()
    size = sum(size for place, size in kept.items() if place not in weights)
    return size, times[1] - times[0], times[2] - times[1]


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
    if setup.device.type == "cuda":
        torch.cuda.synchronize(setup.device)
    return time.perf_counter()


def _same(tensor: Tensor) -> Tensor:
    return tensor
