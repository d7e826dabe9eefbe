"""Everything about a set of links that one batch shows, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from layerlink.taps.recorder import Recorder
from layerlink.taps.tap import snapshot
from layerlink.transfer.link import Link, read_links
from layerlink.transfer.objective import Activations, Objective


@dataclass(frozen=True)
class LinkReport:
    """What is known of one link after one batch.

    Args:
        index: its place in the list.
        text: as the user wrote it.
        teacher_shape: shape of the teacher's activation; None where it could not be read.
        student_shape: the same of the student's.
        problems: what is wrong with it, in sentences; empty where it can be trained.
    """

    index: int
    text: str
    teacher_shape: tuple[int, ...] | None
    student_shape: tuple[int, ...] | None
    problems: tuple[str, ...]


def inspect_links(teacher: nn.Module, student: nn.Module, links: Sequence[str | Link], inputs: Any) -> list[LinkReport]:
    """Run both models once and report on every link: text, path, how often it runs, shapes.

    The models are left as they were: mode, buffers (batch norm's running values) and random state.

    Args:
        teacher: any module, run in eval mode.
        student: any module, run in the mode it is in.
        links: as for ``Distiller``.
        inputs: one batch, as for ``Distiller``; two examples are enough.

    Returns:
        One report a link, in the same order.
    """
    parsed, broken = read_links(links)
    taught = _activations(teacher, [link.teacher for link in parsed.values()], inputs, "teacher", evaluate=True)
    learned = _activations(student, [link.student for link in parsed.values()], inputs, "student", evaluate=False)
    problems: dict[int, list[str]] = {index: [reason] for index, reason in broken}
    if parsed:
        order = list(parsed)
        for position, reason in Objective(links=tuple(parsed.values())).link_problems(learned, taught):
            problems.setdefault(order[position], []).append(reason)
    return [_report(index, links[index], parsed.get(index), taught, learned, problems) for index in range(len(links))]


def _report(
    index: int,
    item: str | Link,
    link: Link | None,
    taught: Activations,
    learned: Activations,
    problems: dict[int, list[str]],
) -> LinkReport:
    teacher = taught.taps.get(link.teacher) if link else None
    student = learned.taps.get(link.student) if link else None
    return LinkReport(
        index=index,
        text=str(item),
        teacher_shape=None if teacher is None else tuple(teacher.shape),
        student_shape=None if student is None else tuple(student.shape),
        problems=tuple(problems.get(index, ())),
    )


@torch.no_grad()
def _activations(model: nn.Module, taps: Iterable[Any], inputs: Any, role: str, *, evaluate: bool) -> Activations:
    with untouched(model):
        if evaluate:
            model.eval()
        # A copy, because a model may work in place on what it gets.
        recording = Recorder(model, taps, role).record(tree_map_only(Tensor, snapshot, inputs))
    return Activations(None, recording.values, recording.problems)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put mode, buffers and random state back afterwards."""
    modes = {module: module.training for module in model.modules()}
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers()) if tensor.is_cuda}
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        for module, training in modes.items():
            module.training = training
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                module._buffers[name] = buffer.copy_(value)  # a model may have put another tensor there
